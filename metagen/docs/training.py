"""Figures of the trained model that follow from its record: energy, CO2, hours, first steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from metagen.docs import scores
from metagen.docs.fact import Figure
from metagen.docs.sources import FILES
from metagen.measure.results import FULL
from metagen.sizing.training import DIGITS, HOUR, INTENSITY, carbon_of_a_kwh
from metagen.trained.header import NAMES
from metagen.units import JOULES_PER_KWH

if TYPE_CHECKING:
    from metagen.docs.facts import Facts

_TIMES = ((HOUR, "hours"), (60, "minutes"), (1, "seconds"))


def start(facts: Facts) -> Figure:
    """Return the commands that run the released weights, in the folder that holds them."""
    run = f"python infer.py --size full --checkpoint .. {facts.family().words.usage}"
    lines = ("cd code", "python -m pip install -r requirements.txt", run)
    return "\n".join(lines), "", f"{FILES['arch']}: family"


def weights_format(facts: Facts) -> Figure:
    """Return the format of the trained weights by PyTorch's name, such as `bfloat16`."""
    name = facts.get("trained.checkpoint.dtype").value
    return NAMES.get(name, name), "", f"{FILES['trained']}: checkpoint.dtype"


def hours(facts: Facts) -> Figure:
    """Return the time of the training in the unit that suits it; None if it is not recorded."""
    source = f"{FILES['trained']}: seconds.wall"
    seconds = _of(facts, "trained.seconds.wall")
    if seconds is None:
        return None, "hours", source
    size, unit = next(each for each in _TIMES if seconds >= each[0] or each[0] == 1)
    return _rounded(seconds / size), unit, source


def energy(facts: Facts) -> Figure:
    """Return the measured energy of the training in kWh; None if it was not measured."""
    joules = _of(facts, "trained.energy.joules")
    source = f"{FILES['trained']}: energy.joules"
    return (None if joules is None else _rounded(joules / JOULES_PER_KWH)), "kWh", source


def energy_estimate(facts: Facts) -> Figure:
    """Return the power of the devices times the hours of the training, in kWh.

    None if the number, the power or the hours of the devices are unknown.
    """
    source = f"{FILES['trained']}: devices, seconds.wall"
    known = _powered(facts)
    if known is None:
        return None, "kWh", source
    number, watts, seconds = known
    return _rounded(number * watts * seconds / JOULES_PER_KWH), "kWh", source


def energy_formula(facts: Facts) -> Figure:
    """Return the arithmetic of `energy_estimate`; "" without one."""
    known, source = _powered(facts), f"{FILES['trained']}: devices, seconds.wall"
    if known is None:
        return "", "", source
    number, watts, seconds = known
    text = f"{number:,} x {watts:g} W at full power x {_rounded(seconds / HOUR):g} h"
    return text, "", source


def _powered(facts: Facts) -> tuple[int, float, float] | None:
    """Return the devices of the training, the watts of each and their seconds."""
    number, names = _of(facts, "trained.devices.count"), _of(facts, "trained.devices.names")
    seconds = _of(facts, "trained.seconds.wall")
    known = facts.device(names[0]) if names and len(set(names)) == 1 else None
    if not number or not seconds or known is None or known.power is None:
        return None
    return number, known.power, seconds


def emissions(facts: Facts) -> Figure:
    """Return the CO2 of the measured or else of the estimated energy; None without either."""
    spent = energy(facts)[0]
    spent = energy_estimate(facts)[0] if spent is None else spent
    rate, _, source = intensity(facts)
    value = None if spent is None else _rounded(spent * rate)
    return value, "kg CO2e", f"{FILES['trained']}: energy, seconds.wall; {source}"


def intensity(facts: Facts) -> Figure:
    """Return the CO2 of a kWh: as the spec declares it, or the world's average."""
    declared = facts.get(f"spec.{INTENSITY}").value
    rate, source, _ = carbon_of_a_kwh(declared)
    return rate, "kg CO2e/kWh", source if declared else f"metagen: {source}"


def emitted(facts: Facts) -> Figure:
    """Return the grams of CO2 where the energy was measured and its intensity is declared."""
    joules, declared = _of(facts, "trained.energy.joules"), _of(facts, f"spec.{INTENSITY}")
    rate, _, source = intensity(facts)
    measured = joules is not None and declared is not None
    value = _rounded(joules / JOULES_PER_KWH * rate * 1000) if measured else None
    return value, "g CO2e", f"{FILES['trained']}: energy.joules; {source}"


def full_judgement(facts: Facts) -> Figure:
    """Return what the scores of the full model say of its baselines; "" where they say nothing."""
    rows = [row for row in facts.results(FULL) if row.get("bound")]
    return scores.judgement(rows, FULL), "", f"{FILES['results']}: outcomes"


def _of(facts: Facts, name: str) -> Any:
    return facts.get(name).value if facts.has(name) else None


def _rounded(figure: float) -> float:
    return float(f"{figure:.{DIGITS}g}")


FIGURES: dict[str, Callable[[Facts], Figure]] = {
    each.__name__: each
    for each in (
        *(
            start,
            weights_format,
            hours,
            energy,
            energy_estimate,
            energy_formula,
            emissions,
            intensity,
            emitted,
        ),
        full_judgement,
    )
}
