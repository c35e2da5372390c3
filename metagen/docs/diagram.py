"""The block diagram of a model: its modules with their parameters and the shapes of their outputs.

The left stack has the model's own modules, in the order of the code; the right one is the inside of
the largest of them, or of one of its equal blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from metagen.docs import wording
from metagen.docs.drawing import BLUE, GREY, WIDTH, Picture, recipes, say_instead
from metagen.docs.facts import Facts
from metagen.docs.sources import inputs
from metagen.work import Desk

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 9  # boxes of a stack; the smallest of more become one
_STEP, _HEIGHT, _GAP = 0.45, 0.31, 0.12  # inches: between two boxes, of a box, between the stacks
_LETTERS = 26  # of a line in a box

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


def diagram(desk: Desk) -> Picture:
    """Draw the modules of the model as boxes."""
    nodes = Facts(desk).get("graph.nodes").value
    return Picture(lambda figure: draw_diagram(figure, nodes), _STEP)


def draw_diagram(figure: Figure, nodes: Sequence[Node]) -> None:
    """Draw the model's modules, and beside them the inside of the largest."""
    outer = boxes(nodes, "")
    if not outer:
        return say_instead(figure, "the model has no modules with parameters")
    largest = max(outer, key=lambda box: box.parameters)
    inner = boxes(nodes, largest.inside)
    stacks = [outer, inner] if inner else [outer]
    rows = max(map(len, stacks))
    figure.set_size_inches(WIDTH, _STEP * rows + 0.28)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(-_STEP * rows, 0.28))
    axes.set_axis_off()
    width = (WIDTH - _GAP) / 2
    for place, stack in enumerate(stacks):
        _stack(axes, stack, place * (width + _GAP), width)
    axes.text(0, 0.1, "model", size=8, va="center")
    if inner:
        axes.text(width + _GAP, 0.1, f"in {_title(largest)}", size=8, va="center")
        _lens(axes, -_STEP * outer.index(largest), width, len(inner))


def _title(box: Box) -> str:
    """Return what the right stack is the inside of."""
    return box.kind.rpartition(wording.SPACE)[2] if wording.TIMES in box.kind else box.name


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


def _stack(axes: Axes, stack: Iterable[Box], left: float, width: float) -> None:
    stack = list(stack)
    largest = max(box.parameters for box in stack)
    for place, box in enumerate(stack):
        _draw(axes, box, (left, -place * _STEP), width, math.sqrt(box.parameters / largest))


def _draw(axes: Axes, box: Box, corner: tuple[float, float], width: float, weight: float) -> None:
    """Draw a box below its upper left corner; the darker, the more parameters it has."""
    from matplotlib.patches import Rectangle

    left, top = corner
    frame = Rectangle((left, top - _HEIGHT), width, _HEIGHT, fc=BLUE, alpha=0.05 + 0.25 * weight)
    axes.add_patch(frame)
    axes.add_patch(Rectangle((left, top - _HEIGHT), width, _HEIGHT, fill=False, ec=GREY, lw=0.5))
    count = wording.write(box.parameters, "parameters", "short").replace(wording.SPACE, " ")
    right, upper, lower = left + width - 0.05, top - 0.09, top - 0.22
    axes.text(left + 0.05, upper, _cut(box.name), size=7.5, va="center")
    axes.text(right, upper, count, size=7.5, va="center", ha="right")
    axes.text(left + 0.05, lower, _cut(box.kind), size=7, va="center", color=GREY)
    shape = f" {wording.TIMES} ".join(f"{size:,}" for size in box.shape)
    axes.text(right, lower, shape, size=7, va="center", ha="right", color=GREY)


def _cut(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"


def _lens(axes: Axes, top: float, right: float, rows: int) -> None:
    """Join the corners of a box of the left stack with the right stack."""
    bottom = -_STEP * (rows - 1) - _HEIGHT
    for start, end in ((top, 0.0), (top - _HEIGHT, bottom)):
        axes.plot([right, right + _GAP], [start, end], color=GREY, lw=0.5, ls=(0, (2, 2)))


RECIPES = (recipes(diagram, "draw the modules of the model", inputs("graph"))[0],)
