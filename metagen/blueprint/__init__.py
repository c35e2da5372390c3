"""Dimensions under constraints: what architecture.yaml says, why, and the verdicts on it."""

from metagen.blueprint import ablations, architecture, constraints, sensitivity

RECIPES = (
    *architecture.RECIPES,
    *constraints.RECIPES,
    *sensitivity.RECIPES,
    *ablations.RECIPES,
)
