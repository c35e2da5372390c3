"""The block diagram of a model: its modules with their parameters and the shapes of their outputs.

The left stack has the model's own modules, in the order of the code; the right one is the inside of
the largest of them, or of one of its equal blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from metagen.docs import wording
from metagen.docs.drawing import BLUE, GREY, WIDTH, Picture, recipes, say_instead
from metagen.docs.facts import Facts
from metagen.docs.modules import Box, Node, boxes
from metagen.docs.sources import inputs
from metagen.work import Desk

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STEP, _HEIGHT, _GAP = 0.45, 0.31, 0.12  # inches: between two boxes, of a box, between the stacks
_LETTERS = 26  # A line of a box holds as many.


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


RECIPES = recipes(diagram, "draw the modules of the model", inputs("graph"))
