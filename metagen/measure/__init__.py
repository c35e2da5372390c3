"""Numbers taken from the generated code itself, each in a subprocess of its own."""

from metagen.measure import memory, probe, trial

RECIPES = (*probe.RECIPES, *memory.RECIPES, *trial.RECIPES)
