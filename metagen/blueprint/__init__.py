"""Dimensions under constraints: what architecture.yaml says, why, and the verdicts on it."""

from metagen.blueprint import architecture

RECIPES = (*architecture.RECIPES,)
