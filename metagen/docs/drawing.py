"""Style and helpers of all figures: one font, and equal bytes in each build."""

from __future__ import annotations

import functools
import io
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from metagen.work import Desk, Recipe, Work

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OF_PAPER, OF_PAGES = "paper/figures/", "docs/figures/"
_ONE_AT_A_TIME = threading.Lock()  # matplotlib's settings are global
WIDTH = 3.3  # inches; a column of the paper
WIDE = 6.0
# The palette of Okabe and Ito is distinguishable with all common kinds of colour blindness.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#595959"
# Series use these colours in turn, unless a figure names its own.
COLOURS = (BLUE, ORANGE, GREEN, GREY, "#CC79A7", "#E69F00", "#56B4E9")
_STYLE = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "pdf.compression": 6,
    # Names inside an SVG are drawn at random without this.
    "svg.hashsalt": "figure",
}
# The paper is set in Times, and STIX General has its letters; a page on the web has none of these.
# Matplotlib brings both fonts, and takes its own before a system's font of the same name.
_FONTS = {"pdf": "STIXGeneral", "svg": "DejaVu Sans"}
_MATHEMATICS = {"pdf": "stix", "svg": "dejavusans"}
_METADATA: dict[str, dict[str, str | None]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}


@dataclass(frozen=True)
class Picture:
    """What a figure shows.

    Attributes:
        draw: Draws on an empty figure; it may set a size of its own.
        height: Height in inches.
        width: Width in inches in the paper; a card or a page has room for WIDE.
    """

    draw: Callable[[Figure], None]
    height: float
    width: float = WIDTH


Pictured = Callable[[Desk], Picture]


def recipes(picture: Pictured, title: str, files: tuple[str, ...]) -> tuple[Recipe, Recipe]:
    """Return the tasks that draw a figure for the paper, and for cards and pages.

    Args:
        picture: A function at the top of its module, whose name is the figure's.
        title: What the task does, in a few words.
        files: The files that the figure is drawn from.
    """
    name = picture.__name__
    return (
        Recipe(f"paper:{name}", for_paper(picture), files, (f"{OF_PAPER}{name}.pdf",), title),
        Recipe(f"docs:figure_{name}", for_page(picture), files, (svg(name),), f"{title}, as SVG"),
    )


def svg(name: str) -> str:
    """Return the path of a figure for cards and pages."""
    return f"{OF_PAGES}{name}.svg"


def for_paper(picture: Pictured) -> Work:
    """Return the work that draws a figure for the paper."""

    @functools.wraps(picture)  # The code of the work is that of the picture, and of this module.
    def work(desk: Desk) -> dict[str, bytes]:
        desk.code(__name__)
        return {f"{OF_PAPER}{picture.__name__}.pdf": saved(desk, picture(desk), "pdf")}

    return work


def for_page(picture: Pictured) -> Work:
    """Return the work that draws a figure for cards and pages."""

    @functools.wraps(picture)
    def work(desk: Desk) -> dict[str, bytes]:
        desk.code(__name__)
        shown = replace(picture(desk), width=WIDE)
        return {svg(picture.__name__): saved(desk, shown, "svg")}

    return work


def saved(desk: Desk, picture: Picture, form: str) -> bytes:
    """Return a figure in one style that does not depend on the user's settings.

    Args:
        desk: Records the version of matplotlib.
        picture: What to draw.
        form: `pdf` or `svg`.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.rcsetup import cycler

    desk.version("matplotlib")
    stream = io.BytesIO()
    with _ONE_AT_A_TIME, matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        matplotlib.rcParams["font.family"] = _FONTS[form]
        matplotlib.rcParams["mathtext.fontset"] = _MATHEMATICS[form]
        matplotlib.rcParams["axes.prop_cycle"] = cycler(color=COLOURS)
        drawing = Figure(figsize=(picture.width, picture.height), layout="constrained")
        picture.draw(drawing)
        drawing.savefig(stream, format=form, metadata=_METADATA[form])
    return stream.getvalue()


def literal(text: str) -> str:
    """Return text without mathematics: matplotlib would typeset text between two dollar signs."""
    return text.replace("$", r"\$")


def level_line(axes: Axes, level: float, name: str, colour: str) -> None:
    """Draw a level line, with its name outside the axes, where no curve covers it."""
    axes.axhline(level, color=colour, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    at, place = (1, level), axes.get_yaxis_transform()
    text: dict[str, Any] = {"textcoords": "offset points", "va": "center", "color": colour}
    axes.annotate(name, at, (3, 0), xycoords=place, size=7, annotation_clip=False, **text)


def say_instead(figure: Figure, text: str) -> None:
    """Draw a sentence in place of a figure without data."""
    axes = figure.add_subplot()
    axes.text(0.5, 0.5, text, ha="center")
    axes.set_axis_off()
