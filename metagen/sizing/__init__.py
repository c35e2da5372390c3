"""Dimensions under constraints: what architecture.yaml says, why, and the verdicts on it.

============  ====================================================================
devices       what hardware can do, and roofline: how long it takes
limits        the bounds that constraints set on the search; need: all that it must meet
search        the search; found: from a spec to its outcome
decisions     why each dimension is as it is
architecture  architecture.yaml; ablations: single changes with their exact sizes
verdicts      the measured model against every constraint; constraints: all of them
nearest       what would meet a violated constraint
sensitivity   what a step of each constraint buys; explain: the same for the terminal
============  ====================================================================
"""

from metagen.sizing import ablations, architecture, constraints, sensitivity

RECIPES = (
    *architecture.RECIPES,
    *constraints.RECIPES,
    *sensitivity.RECIPES,
    *ablations.RECIPES,
)
