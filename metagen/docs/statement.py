"""The sentence that states a verdict, and the two amounts in it, in one unit.

Cards, paper, summary and terminal print these, so each relation has its words once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from metagen.docs import wording
from metagen.docs.wording import SPACE

Row = Mapping[str, Any]
_ESTIMATE, _EXACT = 2, 3  # significant digits of a figure with a range, and of one without
_LOSS, _LOSSES = 4, ("nat/", "bit/")  # Losses differ in their third digit.
_SMALL = 1e-4  # A smaller number is written with a power of ten.
_LEAST, _MOST = 0.01, 1e4  # A smaller or a larger amount gets a unit of its own.
# The units of a kind of amount: from which amount each is used, its size and its name.
_SCALES = {
    "s": ((1.0, 1.0, "s"), (1e-3, 1e-3, "ms"), (0.0, 1e-6, "µs")),
    "days": (
        *((1.0, 1.0, "days"), (1 / 12, 1 / 24, "hours"), (1 / 1440, 1 / 1440, "minutes")),
        *((1 / 86400, 1 / 86400, "s"), (0.0, 1e-3 / 86400, "ms")),
    ),
    "kWh": ((0.1, 1.0, "kWh"), (1e-4, 1e-3, "Wh"), (0.0, 1e-6, "mWh")),
    "kg CO2e": ((0.1, 1.0, "kg CO2e"), (1e-4, 1e-3, "g CO2e"), (0.0, 1e-6, "mg CO2e")),
}
_WORDS = {
    "allowed": "the spec allows at most {limit}",
    "required": "the spec requires at least {limit}",
    "available": "the device has {limit} available",
    "delivered": "the declared hardware delivers {limit}",
}


def sentence(row: Row) -> str:
    """Return what an entry states, such as `244 ms; the spec allows at most 100 ms`."""
    relation, required = row["relation"], row["required"]
    if relation is None or required is None:
        return computed(row) + (f"; {required} sets no limit" if required else "")
    said = _WORDS[relation].format(limit=limit(row))
    if row["limit"] is None:
        said = f"the spec requests {required}"
    if row["computed"] is None or row["verdict"] == "bounded":
        return f"{said}; {row['formula']}"
    needs = " needed" if relation == "delivered" else ""
    return f"{computed(row)}{needs}; {said}"


def limit(row: Row) -> str:
    """Return the limit of an entry, with the declared word for it: `100 ms (real-time)`."""
    required, number = row["required"], row["limit"]
    if required is None or number is None:
        return "not declared" if required is None else str(required)
    estimated = row["relation"] in ("available", "delivered")
    text = _amount(number, row, _EXACT if estimated else None)
    named = isinstance(required, str) and not any(letter.isdigit() for letter in required)
    return f"{text} ({required})" if named else text


def computed(row: Row) -> str:
    """Return the computed figure, with the range of an estimate: `110 tok/s (88 to 130)`."""
    if row["computed"] is None:
        return f"not computed: {row['formula']}"
    is_loss = row["unit"].startswith(_LOSSES)
    if row["low"] is None:
        return _amount(row["computed"], row, _LOSS if is_loss else _EXACT)
    value, digits = row["computed"], _LOSS if is_loss else _ESTIMATE
    low, high = (_amount(row[end], row, digits, like=value) for end in ("low", "high"))
    if low == high:
        return f"about {low}"
    return f"about {_amount(value, row, digits)} ({low.partition(SPACE)[0]} to {high})"


def _amount(value: float, row: Row, digits: int | None, like: float | None = None) -> str:
    """Return an amount in the unit of its row.

    Args:
        value: The amount.
        row: The entry that has it.
        digits: Significant digits; None for an amount that was declared.
        like: An amount whose unit it shares.
    """
    unit = row["unit"]
    if unit in ("parameters", "tokens") or not value:
        return wording.write(value, unit, "short")
    size, name = _unit(row, like or value)
    return wording.agreeing(f"{_rounded(value / size, digits)}{SPACE}{name}")


def _unit(row: Row, value: float) -> tuple[float, str]:
    """Return the size and name of the unit that suits the limit, or the value far below it."""
    anchor, unit = row["limit"] or row["computed"], row["unit"]
    for chosen in (anchor, value):
        if unit in ("bytes", "FLOP"):
            size, letter = wording.prefix(chosen)
            name = f"{letter}{'B' if unit == 'bytes' else unit}"
        else:
            scales = _SCALES.get(unit, ((0.0, 1.0, unit),))
            size, name = next(each[1:] for each in scales if chosen >= each[0])
        if _LEAST <= value / size < _MOST:
            break
    return size, name


def _rounded(value: float, digits: int | None) -> str:
    if digits is None:
        return f"{value:,.10g}" if value < 1e6 else f"{value:,.0f}"
    if abs(value) < _SMALL:
        return f"{value:.{digits - 1}e}".replace("e-0", "e-")
    value = float(f"{value:.{digits - 1}e}")
    return f"{value:,.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


# The unit of a step of a constraint, where its value is a number.
_STEPS = {
    "parameter_budget.max": "parameters",
    "memory_budget": "bytes",
    "context_window": "tokens",
}


def step(row: Row) -> str:
    """Return a step of a constraint, such as `memory budget 12.0 GB`."""
    name, value = row["constraint"], row["value"]
    text = value if isinstance(value, str) else wording.write(value, _STEPS.get(name, ""), "short")
    return f"{name.partition('.')[0].replace('_', ' ')} {text}"


def changes(row: Row) -> str:
    """Return what a step changes of the design, such as `n_layers 30 to 34`; "" for nothing."""
    written = (
        f"{each['name']} {_plain(each['from'])} to {_plain(each['to'])}" for each in row["changes"]
    )
    return ", ".join(written)


def _plain(value: Any) -> str:
    return "none" if value is None else wording.write(value, "", "bare")
