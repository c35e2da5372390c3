"""Measurements of the generated code, each in a subprocess of its own."""

from metagen.families import ablations
from metagen.families.family import Family
from metagen.measure import ablation, memory, probe, trial
from metagen.tasks.task import Lookup
from metagen.work import Recipe


def recipes(family: Family, key: Lookup) -> tuple[Recipe, ...]:
    """Return the tasks that measure the code of a family for a spec."""
    trainings = trial.seeds(family, key)
    ablated = bool(ablations.selected(family, key))
    return (
        *probe.recipes(family),
        *memory.recipes(family),
        *trial.recipes(family, trainings, ablated=ablated),
        *ablation.recipes(family, key, trainings),
    )
