"""The modules of a model as the boxes of its diagram, from `blueprint/graph.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from metagen.docs import wording

MOST = 9  # boxes of a stack; the smallest of more become one
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
    """

    name: str
    kind: str
    parameters: int
    shape: tuple[int, ...]
    inside: str


def boxes(nodes: Sequence[Node], prefix: str) -> list[Box]:
    """Return the modules directly below a prefix, equal neighbours as one, those that count."""
    below = [node for node in nodes if node["name"].startswith(prefix)]
    own = [(node, _first(node["name"].removeprefix(prefix))) for node in below]
    own = [(node, name) for node, name in own if node["name"] == prefix + name]
    groups = [list(group) for _, group in groupby(own, key=lambda pair: _stem(pair[1]))]
    return _shortened([_box([node for node, _ in group], prefix) for group in groups])


def _first(name: str) -> str:
    """Return a name up to the first module: `layers.0.norm` gives `layers.0`."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[1:] and parts[1].isdigit() else parts[0]


def _stem(name: str) -> str:
    return name.partition(".")[0]


def _box(group: list[Node], prefix: str) -> Box:
    first, last = group[0], group[-1]
    kinds = list(dict.fromkeys(node["type"] for node in group))
    kind = kinds[0] if kinds[1:] == [] else "module"
    number = f"{len(group):,} {wording.TIMES}{wording.SPACE}" if group[1:] else ""
    own = first["name"].removeprefix(prefix)
    shape = tuple(last["output_shape"])
    return Box(
        name=_stem(own).replace("_", " "),
        kind=number + kind,
        parameters=sum(node["parameters"] for node in group),
        shape=shape[1:] if shape[:1] == (1,) and shape[1:] else shape,
        inside=f"{first['name']}.",
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
