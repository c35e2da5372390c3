"""What a search minimizes: the held-out loss of a trial, and what its full design takes.

The loss is measured at proxy size. The others are those of the full design: parameters are an exact
count, memory and latency the closed forms and the roofline that give the verdicts of a build.
"""

from __future__ import annotations

from collections.abc import Callable

from metagen.errors import Problem, UsageError
from metagen.families.family import Family
from metagen.sizing import devices
from metagen.sizing.search import Design
from metagen.trials import Outcome
from metagen.units import format_bytes
from metagen.work import Desk

HELD_OUT, PARAMETERS, MEMORY, LATENCY = "held_out", "parameters", "memory", "latency"
NAMES = (HELD_OUT, PARAMETERS, MEMORY, LATENCY)
RETURN = "val_return"  # What episodes of the validation split return, of a network that acts.
HOW = {
    HELD_OUT: "measured on the validation split, at proxy size",
    PARAMETERS: "exact count of the full design",
    MEMORY: "closed form, of the full design",
    LATENCY: "roofline of the declared device, of the full design",
}
Figure = Callable[[Design], float]


def shown(name: str, value: float) -> str:
    """Return a value of an objective with its unit; a loss has that of the task."""
    if name == PARAMETERS:
        return f"{value:,.0f}"
    if name == MEMORY:
        return format_bytes(round(value))
    return f"{1000 * value:.3g} ms" if name == LATENCY else f"{value:.5g}"


def figures(desk: Desk, family: Family, names: tuple[str, ...]) -> dict[str, Figure]:
    """Return how each objective but the loss is computed from a full design.

    Raises:
        UsageError: The latency is asked for, and no device with a known speed is declared.
    """
    known: dict[str, Figure] = {
        PARAMETERS: lambda design: float(design.parameters),
        MEMORY: lambda design: float(design.demand.memory),
    }
    if LATENCY in names:
        known[LATENCY] = _latency(desk, family)
    return {name: known[name] for name in names if name != HELD_OUT}


def _latency(desk: Desk, family: Family) -> Figure:
    target = devices.target(desk)
    if target is None or target.flops is None:
        sentence = "A latency needs a device, and the spec declares none with a known speed."
        hint = "add constraints.device=RTX-4090, or leave --objective latency out"
        raise UsageError(Problem(sentence, "--objective latency", hint))
    line = devices.roofline(desk, devices.shared(target, family), family)
    return lambda design: line.seconds(design.demand.first, design.demand.weight_bits)


def score(outcome: Outcome) -> float:
    """Return what is minimized of a training: its validation loss, or the negative return."""
    returned = outcome.metrics.get(RETURN)
    return outcome.val_loss if returned is None else -returned
