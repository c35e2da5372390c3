"""What a ladder prints: its plan, the table of its rungs, and its forecast with the range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from metagen.ladder.climb import Plan

_HEAD = ("parameters", "operations", "updates", "batch", "rate", "loss by seed", "spread")


def plan_lines(plan: Plan, seconds: float | None) -> Iterator[str]:
    """Yield the rungs, and what the whole ladder will cost."""
    rows: list[Sequence[str]] = [("parameters", "operations", "updates", "share of the full one")]
    for rung in (*plan.rungs, plan.full):
        setting = rung.setting(plan.rule)
        compute = rung.compute(setting)
        share = compute / plan.full.compute(plan.full.setting(plan.rule))
        rows.append((f"{rung.size:,}", f"{compute:.2e}", f"{setting.steps:,}", f"{share:.2%}"))
    yield from table(rows)
    yield f"batch and rate: {plan.rule.growth.source}"
    yield "updates: at the batch of this rule; another one that tuning finds changes them"
    cost = f"about {plan.operations():.2e} operations at most"
    if seconds is not None:
        cost += f", {duration(seconds)} of one thread of this machine"
    yield f"the ladder takes {cost}"


def lines(forecast: Mapping[str, Any]) -> Iterator[str]:
    """Yield the rungs, the forecast, and what it rests on."""
    yield from table([_HEAD, *_rows(forecast)])
    yield ""
    unit, said = forecast["metric"]["unit"], forecast["forecast"]
    reach = forecast["reach"]
    yield f"forecast of the full model: {interval(said)} {unit}"
    yield f"  {reach['size']:.3g} times the top rung's parameters, and {reach['compute']:.3g} times"
    yield "  its operations"
    for each in forecast["alternatives"]:
        yield f"{each['change']}: {interval(each)}"
    yield from _doubts(forecast)


def _rows(forecast: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for rung in forecast["rungs"]:
        run = next(
            each
            for each in reversed(forecast["runs"])
            if each["size"] == rung["size"] and each["loss"] in rung["losses"]
        )
        spread = "-" if rung["spread"] is None else f"{rung['spread']:.2%}"
        yield (
            f"{rung['size']:,}",
            f"{rung['compute']:.2e}",
            f"{run['steps']:,}",
            f"{run['batch_size']:,}",
            f"{run['learning_rate']:g}",
            " / ".join(f"{loss:.4f}" for loss in rung["losses"]),
            spread,
        )


def _doubts(forecast: Mapping[str, Any]) -> Iterator[str]:
    floor, test = forecast["floor"], forecast["back_test"]
    moved = ", ".join(f"{value:.4g}" for value in floor["moved"].values())
    known = "E identified" if floor["identified"] else "E not identified"
    yield f"{known}: the rungs allow {floor['low']:.3g} to {floor['high']:.3g}; over the range "
    yield f"  {floor['drawn'][0]:.3g} to {floor['drawn'][1]:.3g} the forecast moves by {moved}"
    yield f"the rungs below the top forecast it at {interval(test['forecast'])}; it measured "
    widened = f", so every range is {test['widening']:.3g} times as wide"
    yield f"  {test['measured']:.4g}{widened if test['widening'] > 1 else ''}"
    if forecast["rule"]["refitted"]:
        yield "the published rule was wrong at the top rung; its exponents were refitted"
    yield from forecast["assumptions"]


def interval(said: Mapping[str, Any]) -> str:
    """Return a forecast with its range; none is printed without."""
    wide = f"{said['level']:.0%} between {said['low']:.4g} and {said['high']:.4g}"
    return f"{said['loss']:.4g} ({wide})"


def check_lines(fact: Mapping[str, Any]) -> Iterator[str]:
    """Yield the forecast beside the fact."""
    inside = "inside" if fact["inside"] else "outside of"
    yield f"forecast {interval(fact['forecast'])}, measured {fact['measured']:.4g}"
    yield f"the forecast missed by {fact['miss']:+.2%}; the measured loss is {inside} its range"
    yield from (f"differs: {each}" for each in fact["differs"])


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows as columns, the last one to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()


def duration(seconds: float) -> str:
    """Return a time as 40 s, 12 min or 3.4 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
