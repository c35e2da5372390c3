"""The figure of what the proxy does on the held-out split, in one of the forms that it may take.

`eval.py` says what is to be seen: a matrix, images, or lines; where it says nothing, each metric
is drawn beside its baselines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from metagen.docs.drawing import BLUE, GREEN, GREY, ORANGE, WIDE, WIDTH, drawn, say_instead
from metagen.docs.facts import FILES, Facts
from metagen.work import Desk, Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPORT = "benchmarks/report.json"
_MOST_LABELS = 20
_CELL = 0.62  # inches of an image in a grid
_LINES = {"line": "-", "dashed": "--", "points": ""}
_COLOURS = (BLUE, ORANGE, GREEN, GREY, "#CC79A7", "#E69F00", "#56B4E9")

Content = dict[str, Any]


def outcome(desk: Desk) -> dict[str, bytes]:
    """Return the figure that eval.py asks for."""
    rows = Facts(desk).get("results").value
    measured = [row for row in rows if row["status"] == "measured"]
    named = measured and "figure" in desk.names(REPORT, "report")
    shown = desk.entry(REPORT, "report", "figure") if named else None
    if not measured:
        return drawn(desk, "outcome", 1.0, lambda figure: say_instead(figure, "not measured"))
    if shown is None:
        height = 0.5 + 0.22 * sum(2 + len(row["baselines"]) for row in measured)
        return drawn(desk, "outcome", height, lambda figure: _beside(figure, measured))
    draw, width, height = _FORMS[shown["kind"]](shown)
    return drawn(desk, "outcome", height, draw, width)


Form = tuple[Callable[["Figure"], None], float, float]


def _beside(figure: Figure, rows: list[Content]) -> None:
    """Draw each metric and its baselines as bars."""
    every = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    for axes, row in zip(every, rows, strict=True):
        values = {**row["baselines"], "proxy": row["value"]}
        colours = [GREY] * (len(values) - 1) + [BLUE]
        bars = axes.barh(list(values), list(values.values()), color=colours, height=0.62)
        axes.bar_label(bars, [f"{value:.4g}" for value in values.values()], padding=3, fontsize=7)
        axes.set(xlabel=f"{row['metric'].replace('_', ' ')} ({row['unit']})")
        axes.margins(x=0.15)
        axes.tick_params(axis="y", length=0)


def _matrix(content: Content) -> Form:
    """Draw counts as shades, with their labels where there are few."""
    labels, values = content["labels"], content["values"]
    few = len(labels) <= _MOST_LABELS

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        shares = [[count / max(1, sum(row)) for count in row] for row in values]
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
        axes.set(xlabel=content["x"], ylabel=content["y"])
        places = range(len(labels)) if few else []
        axes.set_xticks(places, labels if few else [], rotation=90)
        axes.set_yticks(places, labels if few else [])
        axes.tick_params(length=0)
        for y, row in enumerate(values if few else []):
            for x, count in enumerate(row):
                if count:
                    colour = "white" if shares[y][x] > 0.5 else "black"
                    axes.text(x, y, str(count), ha="center", va="center", size=5.5, color=colour)

    return draw, WIDTH * 1.15, WIDTH * 1.15


def _images(content: Content) -> Form:
    """Draw a grid of images below the names of its columns."""
    rows, columns = content["rows"], content["columns"]
    across = max(len(row) for row in rows)

    def draw(figure: Figure) -> None:
        grid = figure.subplots(len(rows), across, squeeze=False)
        for line, row in zip(grid, rows, strict=True):
            for axes in line:
                axes.set_axis_off()
            for axes, image in zip(line, row, strict=False):
                axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        for axes, name in zip(grid[0], columns, strict=False):
            axes.set_title(name)

    cell = min(_CELL if across > 4 else 2 * _CELL, WIDE / across)
    return draw, cell * across, cell * len(rows) + (0.25 if columns else 0.0)


def _lines(content: Content) -> Form:
    """Draw series over one axis."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for series, colour in zip(content["series"], _COLOURS, strict=False):
            style = series.get("style", "line")
            marker = "o" if style == "points" else ""
            axes.plot(
                series["x"],
                series["y"],
                color=colour,
                linestyle=_LINES[style],
                marker=marker,
                markersize=2.5,
                label=series["name"],
            )
        if content.get("diagonal"):
            axes.axline((0, 0), slope=1, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set(xlabel=content["x"], ylabel=content["y"])
        figure.legend(loc="outside upper center", ncols=3)

    return draw, WIDE * 0.8, 2.6


_FORMS: dict[str, Callable[[Content], Form]] = {
    "matrix": _matrix,
    "images": _images,
    "lines": _lines,
}
RECIPES = (
    Recipe(
        "paper:outcome",
        outcome,
        (FILES["results"], REPORT),
        ("paper/figures/outcome.pdf",),
        "draw what the proxy does on the held-out split",
    ),
)
