"""The modules of a model as the boxes of its diagram, from `blueprint/graph.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from metagen.docs import wording

MOST = 9  # boxes of a stack; the smallest of more become one
_FEW = 4  # modules of one list that are boxes of their own where they differ
Node = dict[str, Any]


@dataclass(frozen=True)
class Box:
    """A module, or some equal modules in a row.

    Attributes:
        name: Its name in the code, as words.
        kind: Its class, with the number of equal modules.
        parameters: Of all of them.
        shape: Of its output, without the batch; () where it returns several.
        inside: The prefix of the names of its own modules.
        innermost: The names of the modules in it that hold no others, or of itself.
    """

    name: str
    kind: str
    parameters: int
    shape: tuple[int, ...]
    inside: str
    innermost: frozenset[str] = frozenset()


def boxes(nodes: Sequence[Node], prefix: str) -> list[Box]:
    """Return the modules directly below a prefix that hold parameters.

    The modules of a list are one box, or one each if they are few, differ, and have room.
    """
    below = [node for node in nodes if node["name"].startswith(prefix)]
    own = [(node, _first(node["name"].removeprefix(prefix))) for node in below]
    own = [(node, name) for node, name in own if node["name"] == prefix + name]
    groups = [list(group) for _, group in groupby(own, key=lambda pair: _stem(pair[1]))]
    lists = [[node for node, _ in group if node["parameters"]] for group in groups]
    apart = [part for each in filter(None, lists) for part in _apart(each)]
    chosen = apart if len(apart) <= MOST else filter(None, lists)
    made = [_box(nodes, prefix) for nodes in chosen]
    return _shortened([replace(box, innermost=_innermost(box.innermost, below)) for box in made])


def _apart(group: list[Node]) -> list[list[Node]]:
    """Return each module of a list by itself if they are few and differ, or the list."""
    differing = {(node["type"], node["parameters"], str(node["output_shape"])) for node in group}
    return [[node] for node in group] if len(differing) > 1 and len(group) <= _FEW else [group]


def _innermost(names: frozenset[str], nodes: Sequence[Node]) -> frozenset[str]:
    """Return the modules in some modules that hold no others."""
    inside = [node["name"] for node in nodes]
    held = {name.rpartition(".")[0] for name in inside}
    held |= {name.rpartition(".")[0] for name in held}
    within = (n for n in inside if any(n == each or n.startswith(f"{each}.") for each in names))
    return frozenset(name for name in within if name not in held)


def span(stack: Sequence[Box], around: Sequence[str]) -> tuple[int, int] | None:
    """Return the first and the last box that a residual connection goes round.

    Args:
        stack: Boxes in the order of the code.
        around: The innermost modules that the connection goes round.

    Returns:
        None if it goes round none of them, or round a part of one.
    """
    touched = [place for place, box in enumerate(stack) if not box.innermost.isdisjoint(around)]
    if not touched or not all(stack[place].innermost.issubset(around) for place in touched):
        return None
    return touched[0], touched[-1]


def _first(name: str) -> str:
    """Return a name up to the first module: `layers.0.norm` gives `layers.0`."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[1:] and parts[1].isdigit() else parts[0]


def _stem(name: str) -> str:
    return name.partition(".")[0]


def _box(group: list[Node], prefix: str) -> Box:
    first, last = group[0], group[-1]
    kinds = list(dict.fromkeys(node["type"] for node in group))
    equal = f"{len(group):,} {wording.TIMES}{wording.SPACE}{kinds[0]}" if group[1:] else kinds[0]
    own = first["name"].removeprefix(prefix)
    shape = tuple(last["output_shape"])
    return Box(
        name=(_stem(own) if group[1:] else own).replace("_", " ").replace(".", " "),
        kind=f"{len(group):,} modules" if kinds[1:] else equal,
        parameters=sum(node["parameters"] for node in group),
        shape=shape[1:] if shape[:1] == (1,) and shape[1:] else shape,
        inside=f"{first['name']}.",
        innermost=frozenset(node["name"] for node in group),
    )


def _shortened(found: list[Box]) -> list[Box]:
    """Return at most `MOST` boxes: those without parameters go first, then the smallest."""
    full = [box for box in found if box.parameters]
    if len(full) <= MOST:
        return full
    kept = sorted(full, key=lambda box: -box.parameters)[: MOST - 1]
    rest = [box for box in full if box not in kept]
    others = Box("others", f"{len(rest)} modules", sum(box.parameters for box in rest), (), "-")
    return [*(box for box in full if box in kept), others]
