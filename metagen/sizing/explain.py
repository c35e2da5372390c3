"""Why a spec gets the architecture that it gets, as lines for the terminal; nothing is built."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, cast

from metagen import paths
from metagen.sizing import alternatives, architecture, search
from metagen.spec import Spec
from metagen.units import format_bytes, format_count
from metagen.work import Desk

_HEADER = ("constraint", "value", "parameters", "memory", "exceeded", "what changes")


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


def lines(spec: Spec) -> Iterator[str]:
    """Yield decisions, limits, what binds, changes that meet violated limits, and steps."""
    desk = desk_over(spec)
    best = search.solution(desk)
    for each in (*architecture.decisions(best), *architecture.limits(best)):
        yield f"{each['name']}: {_value(each['value'])}"
        yield f"  {each['reason']}"
    outlook = json.loads(alternatives.sensitivity(desk)[alternatives.TARGET])
    yield ""
    yield f"binding: {', '.join(outlook['binding']) or 'none'}"
    for name, changes in alternatives.nearest(desk, best, best.design.parameters).items():
        yield f"to meet {name}: {changes}"
    yield ""
    specified = {"constraint": "as specified", "value": "", "changes": [], **outlook["specified"]}
    yield from _table([_HEADER, *map(_row, [specified, *outlook["steps"]])])


def _value(value: Any) -> str:
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _row(step: dict[str, Any]) -> tuple[str, ...]:
    changes = (f"{c['name']} {_value(c['from'])} to {_value(c['to'])}" for c in step["changes"])
    return (
        step["constraint"],
        _value(step["value"]),
        format_count(step["parameters"]),
        format_bytes(step["memory"]["total"]),
        ", ".join(step["exceeded"]) or "-",
        ", ".join(changes) or "-",
    )


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
