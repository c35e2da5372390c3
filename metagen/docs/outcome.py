"""The figure of the proxy's results on held-out data.

The report of eval.py holds its content: an object whose `kind` names a form. The forms `matrix`,
`images`, `lines` and `texts` in this module work for any task. A task that needs another one, such
as boxes over images, waveforms or point clouds, defines it in `templates/tasks/<task>/outcome.py`:

    def draw(figure, content):
        axes = figure.add_subplot()
        ...

`figure` is an empty matplotlib figure of WIDE x 2.6 inches (`figure.set_size_inches` changes that),
and `content` the object of the report. The file imports the standard library, numpy and matplotlib
only. The build reads it as a source, so editing it redraws the figure.

Without a figure in the report, the bars of each metric and its baselines are drawn.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from metagen import families
from metagen.docs import scores
from metagen.docs.drawing import (
    BLUE,
    GREY,
    ORANGE,
    WIDE,
    WIDTH,
    Picture,
    literal,
    recipes,
    say_instead,
)
from metagen.docs.facts import Facts
from metagen.docs.sources import inputs
from metagen.errors import Problem, TaskError
from metagen.measure.results import MEASURED, PROXY, REPORT
from metagen.work import Desk

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEIGHT = 2.6
_MOST_LABELS = 20
_SHORT = 2  # letters
_LONG = 24  # letters, of which a legend's two columns do not fit side by side
_CELL = 0.62  # inches of an image in a grid
_TEXT_SIZE, _TEXT_LINE, _NAMES_WIDTH = 7, 0.122, 0.66  # points, and inches
_LONGEST_LINE = 160  # letters
_LINES = {"line": "-", "dashed": "--", "points": ""}

Content = dict[str, Any]
Draw = Callable[["Figure", Content], None]


def outcome(desk: Desk) -> Picture:
    """Return the figure that eval.py describes.

    Raises:
        TaskError: Neither this module nor the task can draw the figure's kind.
    """
    measured = Facts(desk).results(PROXY)
    if not measured:
        return Picture(lambda figure: say_instead(figure, "not measured"), 1.0)
    described = "figure" in desk.names(REPORT, "report")
    content = desk.entry(REPORT, "report", "figure") if described else None
    if content is None:
        height = 0.5 + 0.22 * sum(2 + len(row["baselines"]) for row in measured)
        return Picture(lambda figure: _beside(figure, measured), height)
    draw = FORMS.get(content["kind"]) or _form_of_the_task(desk, content["kind"])
    return Picture(lambda figure: draw(figure, content), HEIGHT, WIDE)


def _form_of_the_task(desk: Desk, kind: str) -> Draw:
    """Return the `draw` function of the task's own outcome.py."""
    path = families.of_package(desk).task.source("outcome.py")
    try:
        source = desk.source(path)
    except (OSError, TaskError):
        sentence = f"the report of eval.py has a figure of the unknown kind {kind!r}"
        hint = f"use one of {', '.join(FORMS)}, or add {path} with draw(figure, content)"
        raise TaskError(Problem(sentence, REPORT, hint)) from None
    # The source is executed, not imported: an import would read a file that is not in the trace.
    scope: dict[str, Any] = {"__name__": "outcome"}
    exec(compile(source, path, "exec"), scope)
    draw: Draw = scope["draw"]
    return draw


def _beside(figure: Figure, rows: list[Content]) -> None:
    """Draw each metric and its baselines as bars."""
    every = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    for axes, row in zip(every, rows, strict=True):
        own = "proxy" if row["origin"] == MEASURED else f"proxy ({row['origin']})"
        values = {**row["baselines"], own: row["value"]}
        colours = [GREY] * (len(values) - 1) + [BLUE]
        bars = axes.barh(list(values), list(values.values()), color=colours, height=0.62)
        if row["interval"]:
            axes.plot(row["interval"], [own] * 2, color=ORANGE, linewidth=1.2)
        shown = [scores.write(value, row) for value in values.values()]
        axes.bar_label(bars, shown, padding=3, fontsize=7)
        interval = "; line: 95% interval" if row["interval"] else ""
        axes.set(xlabel=literal(f"{row['title']} ({row['unit']}{interval})"))
        axes.margins(x=0.15)
        axes.tick_params(axis="y", length=0)


def _matrix(figure: Figure, content: Content) -> None:
    """Draw counts as shades of their row's share; a small matrix also has numbers and labels."""
    labels, values = [literal(label) for label in content["labels"]], content["values"]
    few = len(labels) <= _MOST_LABELS
    figure.set_size_inches(WIDTH, WIDTH)
    axes = figure.add_subplot()
    shares = [[count / max(1, sum(row)) for count in row] for row in values]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    axes.set(xlabel=literal(content["x"]), ylabel=literal(content["y"]))
    places = range(len(labels)) if few else []
    # Long names have room below the axis only on end; a digit is read as it stands.
    turned = 90 if max(map(len, labels)) > _SHORT else 0
    axes.set_xticks(places, labels if few else [], rotation=turned)
    axes.set_yticks(places, labels if few else [])
    axes.tick_params(length=0)
    for y, row in enumerate(values if few else []):
        for x, count in enumerate(row):
            if count:
                colour = "white" if shares[y][x] > 0.5 else "black"
                axes.text(x, y, str(count), ha="center", va="center", size=5.5, color=colour)


def _images(figure: Figure, content: Content) -> None:
    """Draw a grid of images below the names of its columns."""
    rows, columns = content["rows"], content["columns"]
    across = max(len(row) for row in rows)
    cell = min(_CELL if across > 4 else 2 * _CELL, WIDE / across)
    figure.set_size_inches(cell * across, cell * len(rows) + (0.25 if columns else 0.0))
    grid = figure.subplots(len(rows), across, squeeze=False)
    for line, row in zip(grid, rows, strict=True):
        for axes in line:
            axes.set_axis_off()
        for axes, image in zip(line, row, strict=False):
            axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    for axes, name in zip(grid[0], columns, strict=False):
        axes.set_title(literal(name))


def _lines(figure: Figure, content: Content) -> None:
    """Draw series over one axis."""
    figure.set_size_inches(WIDTH, HEIGHT)
    axes = figure.add_subplot()
    for series in content["series"]:
        style = series.get("style", "line")
        axes.plot(
            series["x"],
            series["y"],
            linestyle=_LINES[style],
            marker="o" if style == "points" else "",
            markersize=2.5,
            label=literal(series["name"]),
        )
    if all(isinstance(x, int) for series in content["series"] for x in series["x"]):
        axes.locator_params("x", integer=True)  # There is no half of an answer.
    if content.get("diagonal"):
        axes.axline((0, 0), slope=1, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set(xlabel=literal(content["x"]), ylabel=literal(content["y"]))
    longest = max(len(series["name"]) for series in content["series"])
    figure.legend(loc="outside upper center", ncols=1 if longest > _LONG else 2)


def _texts(figure: Figure, content: Content) -> None:
    """Draw rows of texts, each beside its name; a long text goes on in the next line."""
    rows = [
        (str(name), _wrapped(literal(str(text)), WIDE - _NAMES_WIDTH))
        for row in content["rows"]
        for name, text in zip(content["columns"], row, strict=True)
    ]
    lines = sum(len(text) for _, text in rows) + 0.6 * len(content["rows"])
    figure.set_size_inches(WIDE, _TEXT_LINE * lines)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDE), ylim=(-_TEXT_LINE * lines, 0))
    axes.set_axis_off()
    top = -0.6 * _TEXT_LINE
    for number, (name, text) in enumerate(rows):
        axes.text(0.05, top, literal(name), size=_TEXT_SIZE, va="center", color=GREY)
        for line in text:
            axes.text(_NAMES_WIDTH, top, line, size=_TEXT_SIZE, va="center")
            top -= _TEXT_LINE
        if (number + 1) % len(content["columns"]) == 0:
            axes.axhline(top + 0.35 * _TEXT_LINE, color=GREY, linewidth=0.3)
            top -= 0.6 * _TEXT_LINE


def _wrapped(text: str, width: float) -> list[str]:
    """Return the lines of a text, each as many letters long as fit in some inches of the font."""
    for letters in range(_LONGEST_LINE, 1, -4):
        lines = textwrap.wrap(text, letters) or [""]
        if all(_inches(line) <= width for line in lines):
            break
    return lines


def _inches(line: str) -> float:
    """Return the width of a line in the font of the figure."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=_TEXT_SIZE)
    return float(text_to_path.get_text_width_height_descent(line, font, ismath=False)[0]) / 72


FORMS: dict[str, Draw] = {
    "matrix": _matrix,
    "images": _images,
    "lines": _lines,
    "texts": _texts,
}
RECIPES = recipes(
    outcome, "draw the proxy's results on held-out data", inputs("arch", "results", "report")
)
