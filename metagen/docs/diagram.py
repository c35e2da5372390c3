"""The block diagram of a model: its modules with their parameters and the shapes of their outputs.

The left stack has the model's own modules, in the order of the code; the right one is the inside of
the largest of them, or of one of its equal blocks. A line round boxes is a residual connection.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from metagen.docs import wording
from metagen.docs.drawing import BLUE, GREY, WIDTH, Picture, recipes, say_instead
from metagen.docs.facts import Facts
from metagen.docs.modules import Box, Node, boxes, span
from metagen.docs.sources import inputs
from metagen.work import Desk

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STEP, _HEIGHT, _GAP = 0.45, 0.31, 0.12  # inches: between two boxes, of a box, between the stacks
_EDGE, _SPACE = 0.05, 0.08  # inches: from a frame to its text, and between two texts of a line
_SIDE = 0.16  # inches beside a stack for its residual connections
_POINTS = 72  # An inch has so many.


def diagram(desk: Desk) -> Picture:
    """Draw the modules of the model as boxes."""
    facts = Facts(desk)
    nodes, around = (facts.get(f"graph.{name}").value for name in ("nodes", "residuals"))
    return Picture(lambda figure: draw_diagram(figure, nodes, around), _STEP)


def draw_diagram(
    figure: Figure, nodes: Sequence[Node], around: Sequence[Sequence[str]] = ()
) -> None:
    """Draw the model's modules, and beside them the inside of the largest that has one."""
    outer = boxes(nodes, "")
    if not outer:
        return say_instead(figure, "the model has no modules with parameters")
    within = {box.inside: boxes(nodes, box.inside) for box in outer}
    largest = max(outer, key=lambda box: (bool(within[box.inside]), box.parameters))
    inner = within[largest.inside]
    stacks = [outer, inner] if inner else [outer]
    rows = max(map(len, stacks))
    figure.set_size_inches(WIDTH, _STEP * rows + 0.28)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(-_STEP * rows, 0.28))
    axes.set_axis_off()
    rounds = [_rounds(stack, around) for stack in stacks]
    width = (WIDTH - _GAP - _SIDE * sum(map(bool, rounds))) / 2
    _stack(axes, outer, 0.0, width)
    _round(axes, rounds[0], width)
    start = width + _GAP + _SIDE * bool(rounds[0])
    if inner:
        _stack(axes, inner, start, width)
        _round(axes, rounds[1], start + width)
    axes.text(0, 0.1, "model", size=8, va="center")
    if inner:
        axes.text(start, 0.1, f"in {_title(largest)}", size=8, va="center")
        _lens(axes, -_STEP * outer.index(largest), (width, start), len(inner))


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
    shape = f" {wording.TIMES} ".join(f"{size:,}" for size in box.shape)
    _line(axes, (box.name, count), (left, top - 0.09, width), size=7.5)
    _line(axes, (box.kind, shape), (left, top - 0.22, width), size=7, color=GREY)


def _line(
    axes: Axes, texts: tuple[str, str], place: tuple[float, float, float], **style: Any
) -> None:
    """Write a text at the left of a box and one at its right, and cut the first where they meet.

    Args:
        axes: Where to draw.
        texts: Both texts.
        place: The left end of the box, the middle of the line, and the width of the box.
        style: Of the letters.
    """
    left, middle, width = place
    room = width - 2 * _EDGE - _SPACE - _width(texts[1], style["size"])
    first = texts[0]
    while _width(first, style["size"]) > room and len(first) > 1:
        first = f"{first.rstrip('…')[:-1]}…"
    axes.text(left + _EDGE, middle, first, va="center", **style)
    axes.text(left + width - _EDGE, middle, texts[1], va="center", ha="right", **style)


def _width(text: str, size: float) -> float:
    """Return the width of a text in inches, in the font of the figure."""
    from matplotlib.textpath import TextPath

    return float(TextPath((0, 0), text, size=size).get_extents().width) / _POINTS if text else 0.0


def _rounds(stack: Sequence[Box], around: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    """Return the first and the last box that each residual connection of a stack goes round."""
    return sorted({found for names in around if (found := span(stack, names))})


def _round(axes: Axes, spans: Sequence[tuple[int, int]], edge: float) -> None:
    """Draw residual connections beside a stack: from above the first box to below the last."""
    for first, last in spans:
        top, bottom = -_STEP * first + 0.05, -_STEP * last - _HEIGHT - 0.05
        side = edge + _SIDE - 0.06
        axes.plot([edge - 0.15, side, side], [top, top, bottom], color=GREY, lw=0.8)
        arrow = {"arrowstyle": "-|>", "color": GREY, "lw": 0.8, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (edge - 0.15, bottom), (side, bottom), arrowprops=arrow)
        axes.text(edge - 0.2, bottom, "+", size=8, va="center", ha="center", color=GREY)


def _lens(axes: Axes, top: float, ends: tuple[float, float], rows: int) -> None:
    """Join the corners of a box of the left stack with the right stack."""
    bottom = -_STEP * (rows - 1) - _HEIGHT
    for start, end in ((top, 0.0), (top - _HEIGHT, bottom)):
        axes.plot(ends, [start, end], color=GREY, lw=0.5, ls=(0, (2, 2)))


RECIPES = recipes(diagram, "draw the modules of the model", inputs("graph"))
