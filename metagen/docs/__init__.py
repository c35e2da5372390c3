"""Documents that turn numbers into prose: cards, figures and a paper.

============  ====================================================================
wording       a value with its unit as text
scores        scores with the digits that they support, and what they say together
sources       the files that facts come from, and the units of their entries
fact          a fact with its address, and as it was printed
commands      the commands that documents print for the code of a package
modules       the modules of a model as the boxes of its diagram
content       what the figures show, as data and in words
facts         the only way from numbers to prose, and derived figures
escape        escaping the text of a spec, for Markdown, LaTeX and HTML
provenance    where each number of a document comes from
render        templates to documents
markup        Markdown to HTML
references    works of the bibliography, as Markdown and records cite them
sheets        data sheets of the data that the benchmark reads
uses          what a model is for, and how it is known to fail
licenses      the text of the licence, or its name and its address
citation      how to cite the model
cards         model card, data card, evaluation report, limitations, launch guide
summary       the content of the terminal's table
drawing       the style and the helpers of all figures
figures       figures of the model and of its training
outcome       the figure of the proxy's results on held-out data
report        the package as one page, `report.html`
directions    text that runs from right to left
outlines      outlines of letters, as operators of PDF
letters       the letters that the paper's fonts lack
paper         the LaTeX project
latex         its PDF
pages         the pages of the documentation about families
============  ====================================================================
"""

from metagen.docs import cards, citation, paper, sheets, summary, uses

RECIPES = (
    *sheets.RECIPES,
    *uses.RECIPES,
    citation.RECIPE,
    *cards.RECIPES,
    *summary.RECIPES,
    *paper.RECIPES,
)
