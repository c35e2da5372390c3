"""The front of a study as a figure, and what it shows in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metagen.docs.drawing import BLUE, GREY, ORANGE, WIDE, Picture, saved
from metagen.search import objectives
from metagen.search.front import Row
from metagen.sizing.explain import desk_over
from metagen.spec import Spec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = {
    objectives.HELD_OUT: "loss on the validation split",
    objectives.PARAMETERS: "parameters of the full design",
    objectives.MEMORY: "memory of the full design (bytes)",
    objectives.LATENCY: "time to the first output (s)",
}
ORDER = "trial"


def svg(spec: Spec, rows: list[Row], names: tuple[str, ...], chosen: int) -> bytes:
    """Return the figure: a panel for each objective beside the loss, or the trials in order."""
    others = [name for name in names if name != objectives.HELD_OUT] or [ORDER]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(others), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, others, strict=True):
            _panel(axes, rows, name, chosen)
        panels[0].set_ylabel(LABELS[objectives.HELD_OUT])
        panels[-1].legend(loc="best")

    desk = _Drawing(spec)
    return saved(desk, Picture(draw, 2.8, WIDE), "svg")  # type: ignore[arg-type]


class _Drawing:
    """A desk that records nothing."""

    def __init__(self, spec: Spec) -> None:
        self._desk = desk_over(spec)

    def version(self, name: str) -> str:
        return ""


def _panel(axes: Any, rows: list[Row], name: str, chosen: int) -> None:
    done = [row for row in rows if row["values"]]
    groups = (
        ("other trials", GREY, "o", [r for r in done if not r["front"]]),
        ("front", BLUE, "s", [r for r in done if r["front"]]),
        ("own design", ORANGE, "D", [r for r in done if r["own"]]),
        ("chosen", "#009E73", "*", [r for r in done if r["trial"] == chosen]),
    )
    for label, colour, marker, members in groups:
        pairs = [(_across(row, name), row["values"][objectives.HELD_OUT]) for row in members]
        if pairs:
            size = 9 if label == "chosen" else 4
            axes.plot(*zip(*pairs, strict=True), marker, color=colour, label=label, markersize=size)
    axes.set_xlabel(LABELS.get(name, name))


def _across(row: Row, name: str) -> float:
    return float(row["trial"] if name == ORDER else row["values"][name])


def alternative(rows: list[Row], names: tuple[str, ...], chosen: int) -> str:
    """Return what the figure shows, for those who do not see it."""
    done = [row for row in rows if row["values"]]
    front = [row for row in done if row["front"]]
    loss = objectives.HELD_OUT
    best = next(row for row in done if row["trial"] == chosen)
    text = (
        f"Trials of the search, {len(done)} of {len(rows)} trained to the end, by "
        f"{' and '.join(LABELS[name] for name in names)}; {len(front)} are on the front. "
        f"The chosen one, trial {chosen}, has a loss of {best['values'][loss]:.4g}"
    )
    own = next((row for row in done if row["own"]), None)
    return f"{text}; the package's own design has {own['values'][loss]:.4g}." if own else f"{text}."
