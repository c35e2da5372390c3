"""Dimensions under constraints: what architecture.yaml says, why, and the verdicts on it.

============  ====================================================================
devices       the figures of hardware, and how long a piece of work takes on it
need          all that a search must meet: size, limits and pins of a spec
search        the search, and the solution of a spec
architecture  architecture.yaml with its reasons; ablations.yaml, derived.json
peers         peers.json: the published models nearest in size
alternatives  changes that meet a violated constraint; what a step of each buys
measured      the measured model, and the verdict on one of its figures
shares        the share of a peak that training reaches: a range of published runs
training      verdicts on the training run of the launch plan
verdicts      constraints.json: the measured model against every constraint
explain       the decisions and alternatives as lines for the terminal
============  ====================================================================
"""

from metagen.sizing import alternatives, architecture, peers, verdicts

RECIPES = (*architecture.RECIPES, *peers.RECIPES, *verdicts.RECIPES, *alternatives.RECIPES)
