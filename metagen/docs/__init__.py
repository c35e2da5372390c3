"""Documents: numbers to prose, in cards, figures and a paper.

============  ====================================================================
wording       a value with its unit as text
facts         the only door from numbers to prose; derived: figures that follow
escape        a stranger's text made inert, for Markdown and for LaTeX
render        templates to documents
cards         model card, data card, evaluation report, limitations
launch        how to train on many devices
summary       what the terminal's table shows
drawing       how a figure looks; figures: drawn from measured files; outcome: what a proxy does
paper         the LaTeX project
latex         its PDF
============  ====================================================================
"""

from metagen.docs import cards, latex, launch, paper, summary

RECIPES = (*cards.RECIPES, *launch.RECIPES, *summary.RECIPES, *paper.RECIPES, *latex.RECIPES)
