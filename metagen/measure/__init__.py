"""Measurements of the generated code, each in a subprocess of its own."""

from metagen.families.family import Family
from metagen.measure import memory, probe, trial
from metagen.work import Recipe


def recipes(family: Family) -> tuple[Recipe, ...]:
    """Return the tasks that measure the code of a family."""
    return (*probe.RECIPES, *memory.recipes(family), *trial.recipes(family))
