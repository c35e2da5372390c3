"""The paper's figures, drawn from measured files only, with equal bytes in each build."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from metagen.docs import wording
from metagen.docs.drawing import BLUE, GREEN, ORANGE, WIDE, drawn, figure, level_line, say_instead
from metagen.docs.facts import Facts, design
from metagen.docs.sources import inputs
from metagen.measure.results import PROXY, STEPS_UNIT
from metagen.sizing import need
from metagen.work import Desk, Recipe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINE = 2  # points
_FALL = 30  # the axis is logarithmic if the losses fall by a larger factor

CURVE = "docs/trained_curve.svg"


def learning_curve(desk: Desk) -> dict[str, bytes]:
    """Draw the losses of the proxy over steps."""
    facts = Facts(desk)
    rows, unit = facts.get("curve").value, facts.family().words.loss_unit
    axis = next((row["steps_unit"] for row in facts.results(PROXY)), "")
    return drawn(desk, "learning_curve", 2.3, lambda figure: draw_curve(figure, rows, axis, unit))


def trained_curve(desk: Desk) -> dict[str, bytes]:
    """Draw the losses of the trained model over steps."""
    facts = Facts(desk)
    rows, unit = facts.get("trained_curve").value, facts.family().words.loss_unit
    return drawn(desk, "trained_curve", 2.3, lambda f: draw_curve(f, rows, STEPS_UNIT, unit))


def curve_of_report(desk: Desk) -> dict[str, bytes]:
    """Draw the losses of the trained model for the evaluation report."""
    facts = Facts(desk)
    rows, unit = facts.get("trained_curve").value, facts.family().words.loss_unit
    return {CURVE: figure(desk, "svg", 2.3, lambda f: draw_curve(f, rows, STEPS_UNIT, unit), WIDE)}


def draw_parameters(figure: Figure, facts: Facts) -> None:
    """Draw the parameters of the full model by module."""
    parts = _parts(facts.get("params.by_module").value, facts.get("params.by_layer").value)
    _bars(figure, parts, "share of all parameters", "parameters")


def cost(desk: Desk) -> dict[str, bytes]:
    """Draw operations and memory over the context, or operations by operator without one."""
    facts = Facts(desk)
    if not facts.has("derived.context"):
        parts = facts.get("flops.by_operator").value
        axis = f"share of the operations of one {facts.family().words.unit}"
        height = 0.55 + 0.22 * len(parts)
        return drawn(desk, "cost", height, lambda figure: _bars(figure, parts, axis, "FLOP"))
    points = facts.get("flops.points").value
    budget = facts.get("spec.constraints.memory_budget").value
    memory = [_memory(facts, point["length"]) for point in points]
    return drawn(desk, "cost", 2.5, lambda figure: _costs(figure, points, memory, budget))


def _memory(facts: Facts, length: int) -> float:
    """Return the bytes of weights, cache and activations at a context of some length."""
    family, everything = design(facts)
    use = need.use(lambda name: facts.get(f"spec.{name}").value)
    demand = family.demand({**everything, str(family.context_dim): length}, use)
    extra = facts.get("params.total").value - family.count(everything)
    return float(demand.memory + 2 * extra)


def _parts(modules: dict[str, int], layer: dict[str, int]) -> dict[str, float]:
    """Return the parameters by module; the layers are split into their blocks."""
    one, stack = sum(layer.values()), modules.get("layers", 0)
    blocks = {f"layers: {name}": stack * count // one for name, count in layer.items()}
    whole = {name: count for name, count in modules.items() if not (blocks and name == "layers")}
    parts = {name: count for name, count in (whole | blocks).items() if count}
    return dict(sorted(parts.items(), key=lambda part: part[1]))


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
    axes.set(xlabel=axis, ylabel=f"loss ({unit})", xlim=(0, rows[-1]["step"]))
    axes.legend(loc="upper right", ncols=2)


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
    axes.set_xticks(lengths, [_window(length) for length in lengths], minor=False)
    axes.minorticks_off()


def _window(tokens: int) -> str:
    text = wording.write(tokens, "tokens", "short")
    return text.removesuffix(f"{wording.SPACE}tokens")


def _recipe(work: Callable[[Desk], dict[str, bytes]], title: str, *files: str) -> Recipe:
    name = work.__name__
    return Recipe(f"paper:{name}", work, inputs(*files), (f"paper/figures/{name}.pdf",), title)


RECIPES = (
    _recipe(learning_curve, "draw the proxy's learning curve", "curve", "results", "arch"),
    _recipe(trained_curve, "draw the losses of the trained model", "trained_curve", "arch"),
    _recipe(cost, "draw the cost of an output", "flops", "params", "arch"),
)
# What only a package with a trained model has.
OF_THE_TRAINED = (
    Recipe(
        "docs:trained_curve",
        curve_of_report,
        inputs("trained_curve", "arch"),
        (CURVE,),
        "draw the losses of the trained model for the evaluation report",
    ),
)
