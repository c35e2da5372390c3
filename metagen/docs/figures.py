"""The figures of paper, cards and pages, drawn from measured files only, the same in each build."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from metagen.docs import wording
from metagen.docs.content import memory_over_context, module_parts, steps, window
from metagen.docs.drawing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    WIDE,
    Picture,
    level_line,
    literal,
    recipes,
    say_instead,
)
from metagen.docs.facts import Facts
from metagen.docs.sources import inputs
from metagen.measure.ablation import BETTER, WORSE
from metagen.measure.comparison import CANNOT_TELL
from metagen.measure.results import PROXY, STEPS_UNIT
from metagen.work import Desk

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINE = 2  # points
_LABEL_LETTERS = 34  # A longer label beside an axis goes on in another line.
_OUTCOMES = {BETTER: GREEN, WORSE: ORANGE, CANNOT_TELL: GREY}
_FALL = 30  # the axis is logarithmic if the losses fall by a larger factor


def learning_curve(desk: Desk) -> Picture:
    """Draw the losses of the proxy over steps."""
    facts = Facts(desk)
    rows, unit = facts.get("curve").value, facts.family().words.loss_unit
    axis = next((row["steps_unit"] for row in facts.results(PROXY)), "")
    return Picture(lambda figure: draw_curve(figure, rows, axis, unit), 2.3)


def trained_curve(desk: Desk) -> Picture:
    """Draw the losses of the trained model over steps."""
    facts = Facts(desk)
    rows, unit = facts.get("trained_curve").value, facts.family().words.loss_unit
    return Picture(lambda figure: draw_curve(figure, rows, STEPS_UNIT, unit), 2.3)


def ablations(desk: Desk) -> Picture:
    """Draw how the benchmark's first score differs with each ablation."""
    facts = Facts(desk)
    metrics = facts.get("ablations.metrics").value
    if not metrics:
        return Picture(lambda figure: say_instead(figure, "not run"), 1.0)
    height = 0.75 + 0.24 * len(metrics[0]["changes"])
    return Picture(lambda figure: _differences(figure, metrics[0]), height, WIDE)


def _differences(figure: Figure, metric: dict[str, Any]) -> None:
    """Draw each change's difference with its interval and its seeds around a line at zero."""
    axes = figure.add_subplot()
    axes.axvline(0, color="black", linewidth=0.7, zorder=0)
    for place, row in enumerate(metric["changes"]):
        _difference(axes, -place, row)
    names = [literal(row["name"]) for row in metric["changes"]]
    axes.set_yticks([-place for place in range(len(names))], names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(0.6 - len(names), 0.6)
    better = wording.write(metric["higher_is_better"], "", "direction")
    axes.set_xlabel(literal(f"difference of {metric['title']} ({metric['unit']}; {better})"))


def _difference(axes: Axes, place: int, row: dict[str, Any]) -> None:
    difference, colour = row["difference"], _OUTCOMES[row["outcome"]]
    seeds = list(difference["seeds"].values())
    axes.plot(seeds, [place] * len(seeds), "|", color=GREY, markersize=5, markeredgewidth=0.7)
    if difference["interval"]:
        axes.plot(difference["interval"], [place] * 2, color=colour, linewidth=1.2)
    face = "white" if row["resized"] else colour
    style: dict[str, Any] = {"color": colour, "markerfacecolor": face, "markersize": 5}
    axes.plot([difference["value"]], [place], "o", **style)
    at = axes.get_yaxis_transform()
    axes.text(1.02, place, row["outcome"], transform=at, va="center", size=7, color=colour)


def parameters(desk: Desk) -> Picture:
    """Draw the parameters by module."""
    facts = Facts(desk)
    parts = module_parts(facts)
    return Picture(lambda figure: draw_parts(figure, parts), 2.5)


def draw_parts(figure: Figure, parts: dict[str, float]) -> None:
    """Draw parameters by module."""
    _bars(figure, parts, "share of all parameters", "parameters")


def cost(desk: Desk) -> Picture:
    """Draw operations and memory over the context, or operations by operator without one."""
    facts = Facts(desk)
    if not facts.has("derived.context"):
        parts = facts.get("flops.by_operator").value
        axis = f"share of the operations of one {facts.family().words.unit}"
        height = 0.55 + 0.22 * len(parts)
        return Picture(lambda figure: _bars(figure, parts, axis, "FLOP"), height)
    points = facts.get("flops.points").value
    budget = facts.get("spec.constraints.memory_budget").value
    memory = memory_over_context(facts)
    return Picture(lambda figure: _costs(figure, points, memory, budget), 2.5)


def sensitivity(desk: Desk) -> Picture:
    """Draw the memory of the design, and of the designs for a step of each constraint."""
    rows = steps(Facts(desk))
    return Picture(lambda figure: _stacks(figure, rows), 0.9 + 0.24 * len(rows), WIDE)


def _stacks(figure: Figure, rows: list[tuple[str, dict[str, Any]]]) -> None:
    """Draw a bar per row: weights, cache and activations, in the prefix of the largest."""
    axes = figure.add_subplot()
    size, letter = wording.prefix(max(row["memory"]["total"] for _, row in rows))
    edge = _memory_bars(axes, [row["memory"] for _, row in rows], size)
    edge = _allowances(axes, [row["memory_allowed"] for _, row in rows], size, edge)
    outcomes = [_outcome(row) for _, row in rows]
    for place, text in enumerate(outcomes):
        axes.text(1.03 * edge, -place, text, va="center", size=7)
    # The axis extends past the bars, so that the longest outcome fits in the figure.
    room = 1.08 + 0.016 * max(map(len, outcomes))
    axes.set(xlabel=f"memory ({letter}B)", xlim=(0, edge * room))
    axes.set_yticks([-place for place in range(len(rows))], [name for name, _ in rows])
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper right", ncols=4)


def _memory_bars(axes: Axes, memories: list[dict[str, int]], size: float) -> float:
    """Draw the parts of each memory as a stacked bar; return the end of the longest bar."""
    places = [-place for place in range(len(memories))]
    left = [0.0] * len(memories)
    for part, colour in (("weights", BLUE), ("cache", ORANGE), ("activations", GREEN)):
        widths = [memory[part] / size for memory in memories]
        if not any(widths):  # A family without a cache has no name of it in the legend either.
            continue
        axes.barh(places, widths, left=left, color=colour, height=0.62, label=part)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    return max(left)


def _allowances(axes: Axes, allowed: list[float | None], size: float, edge: float) -> float:
    """Mark the memory allowed in each row, unless it is far beyond the bars; return the edge."""
    marks = [(most / size, -place) for place, most in enumerate(allowed) if most]
    shown = [mark for mark in marks if mark[0] < 1.6 * edge]
    if not shown:
        return edge
    axes.plot(*zip(*shown, strict=True), "k|", markersize=11, label="allowed")
    return max(edge, *(most for most, _ in shown))


def _outcome(row: dict[str, Any]) -> str:
    count = wording.write(row["parameters"], "parameters", "short").replace(wording.SPACE, " ")
    exceeded = ", ".join(name.replace("_", " ") for name in row["exceeded"])
    return f"{count}; exceeds {exceeded}" if exceeded else count


def draw_curve(figure: Figure, rows: list[dict[str, Any]], axis: str, unit: str) -> None:
    """Draw losses over steps; the last two arguments are their units."""
    if not rows:
        return say_instead(figure, "not measured")
    axes = figure.add_subplot()
    for name, colour, width, key in (
        ("training", BLUE, 0.7, "train_loss"),
        ("validation", ORANGE, 1.6, "val_loss"),
    ):
        seen = [(row["step"], row[key]) for row in rows if row[key] is not None]
        mark = "o" if len(seen) < _LINE else ""  # a line of one point has no length
        axes.plot(*zip(*seen, strict=True), color=colour, lw=width, marker=mark, ms=3, label=name)
    losses = [row[key] for row in rows for key in ("train_loss", "val_loss") if row[key]]
    if max(losses) > _FALL * min(losses):
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, None)
    named = textwrap.fill(f"loss ({unit})", _LABEL_LETTERS)
    axes.set(xlabel=axis, ylabel=named, xlim=(0, rows[-1]["step"]))
    figure.legend(loc="outside upper right", ncols=2)


def _bars(figure: Figure, parts: dict[str, float], axis: str, unit: str) -> None:
    axes = figure.add_subplot()
    names, total = [name.replace("_", " ") for name in parts], sum(parts.values())
    bars = axes.barh(names, [count / total for count in parts.values()], color=BLUE, height=0.62)
    labels = [wording.write(count, unit, "short") for count in parts.values()]
    axes.bar_label(bars, labels, padding=3, fontsize=7)
    axes.set(xlabel=axis, xlim=(0, 1))
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.tick_params(axis="y", length=0)


def _costs(
    figure: Figure, points: list[dict[str, Any]], memory: list[float], budget: float | None
) -> None:
    above, below = figure.subplots(2, 1, sharex=True)
    lengths = [point["length"] for point in points]
    flops = [point["forward_per_unit"] for point in points]
    _growth(above, lengths, flops, max(flops), "{}FLOP per token", BLUE)
    highest = max(*memory, budget or 0)
    size = _growth(below, lengths, memory, highest, "memory ({}B)", GREEN)
    if budget:
        level_line(below, budget / size, "budget", ORANGE)
    below.set_xlabel("context (tokens)")
    _context_axis(below, lengths)
    figure.align_ylabels()


def _growth(
    axes: Axes, lengths: list[int], values: list[float], highest: float, name: str, colour: str
) -> float:
    """Draw values over lengths in the prefix that fits the highest; return the prefix's size."""
    size, letter = wording.prefix(highest)
    axes.plot(lengths, [each / size for each in values], color=colour, marker="o", markersize=2.5)
    axes.set(ylabel=name.format(letter), ylim=(0, 1.12 * highest / size))
    return size


def _context_axis(axes: Axes, lengths: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(lengths, [window(length) for length in lengths], minor=False)
    axes.minorticks_off()


RECIPES = (
    *recipes(learning_curve, "draw the proxy's learning curve", inputs("curve", "results", "arch")),
    recipes(parameters, "draw the parameters by module", inputs("params"))[1],
    recipes(sensitivity, "draw the effect of a step of each constraint", inputs("sensitivity"))[1],
    *recipes(cost, "draw the cost of an output", inputs("flops", "params", "arch")),
)
# What only a package with a trained model has.
OF_THE_TRAINED = recipes(
    trained_curve, "draw the losses of the trained model", inputs("trained_curve", "arch")
)
# What only a package with ablations has.
OF_ABLATIONS = recipes(ablations, "draw the effect of each ablation", inputs("ablations"))
