"""Numbers taken from the generated code itself, each in a subprocess of its own."""

from metagen.measure import probe, trial

RECIPES = (*probe.RECIPES, *trial.RECIPES)
