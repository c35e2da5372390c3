"""Why a spec gets the architecture that it gets: lines of 80 columns, or all of it as data."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, cast

from metagen import paths
from metagen.sizing import alternatives, architecture, search
from metagen.sizing.search import Solution
from metagen.spec import Spec
from metagen.units import format_bytes, format_count
from metagen.work import Desk

_WIDTH = 80  # columns of a line
_LEAST = 20  # columns of the last column of a table, whatever the others take
_STEPS = ("constraint", "value", "parameters", "memory", "what changes")
Row = tuple[str, ...]


class SpecDesk:
    """A desk over a spec and what metagen ships, where nothing is recorded."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec

    def key(self, name: str) -> Any:
        """Return the value of a leaf key of the spec."""
        return self._spec.key(name)

    def source(self, name: str) -> bytes:
        """Return a file that metagen ships."""
        return paths.source(name).read_bytes()

    def code(self, module: str) -> str:
        """Return a module's name as given."""
        return module


def desk_over(spec: Spec) -> Desk:
    """Return a desk over a spec, for work of which nothing is recorded."""
    return cast(Desk, SpecDesk(spec))


def content(spec: Spec) -> dict[str, Any]:
    """Return all that is known of a spec's architecture, for a program."""
    desk = desk_over(spec)
    best = search.solution(desk)
    return {
        "spec": spec.key("name"),
        "family": best.family.name,
        "parameters": best.design.parameters,
        "exceeded": _exceeded(best),
        "decisions": list(architecture.evident(desk, architecture.decisions(best))),
        "limits": architecture.limits(best),
        "nearest": alternatives.nearest(desk, best, best.design.parameters),
        **json.loads(alternatives.sensitivity(desk)[alternatives.TARGET]),
    }


def lines(spec: Spec) -> Iterator[str]:
    """Yield the verdict, a table of the dimensions, the limits, and what would change them."""
    found = content(spec)
    verdict = f"exceeds {', '.join(found['exceeded'])}" if found["exceeded"] else "meets each limit"
    shown = f"{spec.shown('name')}: {found['family']} of {found['parameters']:,} parameters"
    yield from textwrap.wrap(f"{shown}; by estimate it {verdict}", _WIDTH)
    yield ""
    reasons = ((d["name"], _value(d["value"]), _first_part(d)) for d in found["decisions"])
    yield from _table([("dimension", "value", "why"), *reasons])
    yield ""
    limits = [(each["name"], each["reason"]) for each in found["limits"]]
    if limits:
        yield from _table([("limit", "estimate"), *limits])
        yield ""
    yield f"binding: {', '.join(found['binding']) or 'none'}"
    for name, changes in found["nearest"].items():
        yield from textwrap.wrap(f"to meet {name}: {changes}", _WIDTH, subsequent_indent="  ")
    yield ""
    specified = {"constraint": "as specified", "value": "", "changes": [], **found["specified"]}
    yield from _table([_STEPS, *map(_row, [specified, *found["steps"]])])
    yield ""
    yield "--json has each reason in full."


def _exceeded(best: Solution) -> list[str]:
    """Return the constraints that the design exceeds, by the search's own estimate."""
    design, need = best.design, best.need
    above = ["parameter_budget.max"] if design.parameters > need.budget else []
    return above + [limit.constraint for limit in need.limits if limit.excess(design.demand)]


def _first_part(decision: dict[str, Any]) -> str:
    return str(decision["reason"]).partition("; ")[0]


def _value(value: Any) -> str:
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _row(step: dict[str, Any]) -> Row:
    exceeded = [f"exceeds {', '.join(step['exceeded'])}"] if step["exceeded"] else []
    changes = [f"{c['name']} {_value(c['from'])} to {_value(c['to'])}" for c in step["changes"]]
    return (
        step["constraint"],
        _value(step["value"]),
        format_count(step["parameters"]),
        format_bytes(step["memory"]["total"]),
        "; ".join([*exceeded, ", ".join(changes)] if changes else exceeded) or "-",
    )


def _table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of a table whose last column is wrapped."""
    columns = list(zip(*(row[:-1] for row in rows), strict=True))
    widths = [max(map(len, column)) for column in columns]
    indent = sum(widths) + 2 * len(widths)
    for row in rows:
        first = "".join(f"{cell:<{width}}  " for cell, width in zip(row, widths, strict=False))
        rest = textwrap.wrap(row[-1], max(_LEAST, _WIDTH - indent)) or [""]
        yield (first + rest[0]).rstrip()
        yield from (" " * indent + line for line in rest[1:])
