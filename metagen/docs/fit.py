"""The figure of what the model takes of its device: memory, and the roofline of its speed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metagen.docs import wording
from metagen.docs.drawing import BLUE, GREEN, GREY, ORANGE, WIDTH, Picture, recipes
from metagen.docs.facts import Facts
from metagen.docs.sources import inputs
from metagen.families.demand import Cost, Demand
from metagen.sizing import devices, measured
from metagen.sizing.devices import Roofline
from metagen.work import Desk

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PARTS = (
    ("weights", BLUE, ""),
    ("cache", ORANGE, "////"),
    ("activations", GREEN, "...."),
)
_LIMITS = (("memory_budget", "budget", "-"), ("device_memory", "device", (0, (4, 2))))
_DECADES = 30.0  # the axis of the roofline extends so far beyond its points and its ridge
Limit = tuple[str, Any, float]


def fit(desk: Desk) -> Picture:
    """Draw the memory of the model beside its limits, and the roofline of the device."""
    rows = {row["constraint"]: row for row in Facts(desk).get("constraints").value}
    model, target = measured.read(desk), devices.target(desk)
    device = devices.shared(target, model.family, model.everything) if target else None
    line = devices.roofline(desk, device, model.family, model.operations) if device else None
    known = line if line and line.device.flops else None
    height = 2.75 if known else 1.0
    return Picture(lambda figure: _draw(figure, rows, known, model.demand), height)


def _draw(figure: Figure, rows: dict[str, Any], line: Roofline | None, demand: Demand) -> None:
    if line is None:
        return _memory(figure.add_subplot(), rows)
    figure.set_size_inches(WIDTH, 2.75)
    above, below = figure.subplots(2, 1, height_ratios=(1, 3.4))
    _memory(above, rows)
    _roof(below, line, demand)


def _memory(axes: Axes, rows: dict[str, Any]) -> None:
    """Draw weights, cache and activations as one bar, and the limits as lines."""
    parts = [(name, *style, rows[name]["computed"]) for name, *style in _PARTS if name in rows]
    known = [(name, style, rows.get(key, {}).get("limit")) for key, name, style in _LIMITS]
    limits: list[Limit] = [limit for limit in known if limit[-1]]
    total = sum(part[-1] or 0 for part in parts)
    shown = [limit for limit in limits if limit[-1] < 4 * total]
    size, letter = wording.prefix(max(total, *(limit[-1] for limit in shown), 1))
    left = 0.0
    for name, colour, hatch, bytes_ in parts:
        if bytes_:
            style = {"facecolor": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0}
            axes.barh([0], [bytes_ / size], left=left, height=0.6, label=name, **style)
            left += bytes_ / size
    for name, style, limit in shown:
        axes.axvline(limit / size, color="black", lw=0.9, ls=style, label=name)
    axes.set(yticks=[], ylim=(-0.4, 0.4), xlabel=f"memory ({letter}B)")
    axes.set_xlim(0, 1.05 * max(left, *(limit[-1] / size for limit in shown), 0) or 1)
    axes.spines["left"].set_visible(False)
    if left or shown:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 0.95), ncols=5, **_CLOSE)


_CLOSE: dict[str, Any] = {"handlelength": 1.3, "columnspacing": 0.9, "handletextpad": 0.4}


def _roof(axes: Axes, line: Roofline, demand: Demand) -> None:
    """Draw the roof of the device, and each piece of work below it with the range of its speed."""
    device = line.device
    # The planned speed of a CPU is a usual one, which some work exceeds.
    most = max(1.0, line.arithmetic_share.high) if device.measured else 1.0
    peak = most * device.number * (device.flops or 0)
    bandwidth = device.number * device.bandwidth
    points = _points(demand)
    ridge = peak / bandwidth
    at = [work.flops / work.bytes for _, work in points] + [ridge]
    low, high = min(at) / _DECADES**0.5, max(at) * _DECADES**0.5
    axes.loglog([low, ridge, high], [low * bandwidth, peak, peak], color="black", lw=1.0)
    size, letter = wording.prefix(peak)
    for (name, work), marker, colour in zip(points, "os^", (BLUE, ORANGE, GREEN), strict=False):
        _point(axes, line, (name, work), demand.weight_bits, marker, colour)
    name = device.model if device.number == 1 else f"{device.number} x {device.model}"
    words = f"{name}: {peak / size:,.3g} {letter}FLOP/s, {bandwidth / 1e9:,.4g} GB/s"
    axes.set_title(words, loc="left", fontsize=7.5)
    axes.set(xlabel="FLOP for each byte read", ylabel="FLOP/s", xlim=(low, high))
    # On an axis of two decades, labels of the ticks between powers of ten would overlap.
    axes.xaxis.set_minor_formatter("")
    axes.grid(color=GREY, alpha=0.2, lw=0.4)
    axes.legend(loc="lower right", **_CLOSE)


def _points(demand: Demand) -> list[tuple[str, Cost]]:
    """Return the pieces of work that differ, each with its name."""
    named = [("each output", demand.steady), ("first output", demand.first)]
    named += [("output at full context", demand.last)] if demand.last else []
    first: dict[Cost, str] = {}
    for name, work in named:
        first.setdefault(work, name)
    return [(name, work) for work, name in first.items() if work.bytes and work.flops]


def _point(
    axes: Axes, line: Roofline, piece: tuple[str, Cost], bits: int, marker: str, colour: str
) -> None:
    name, work = piece
    speed = work.flops / line.seconds(work, bits)
    low, high = (work.flops / seconds for seconds in reversed(line.between(work, bits)))
    errors = [[max(0.0, speed - low)], [max(0.0, high - speed)]]
    style: dict[str, Any] = {"fmt": marker, "ms": 4, "color": colour, "capsize": 2, "lw": 0.9}
    axes.errorbar([work.flops / work.bytes], [speed], yerr=errors, label=name, **style)


_READ = (*inputs("constraints"), *measured.INPUTS)
RECIPES = (recipes(fit, "draw memory and speed beside their limits", _READ)[0],)
