"""The shape of a residual network: the trend of published ones, the space to search, reasons."""

from __future__ import annotations

from metagen.families.family import Axis, Dims, Need
from metagen.families.grid import down_to_fit, floor_power, near
from metagen.families.resnet_load import EXPANSION, STAGES, count, depths
from metagen.families.trend import Row, Trend, rows
from metagen.families.trend import fit as fit_line
from metagen.tasks import image_classification as task

BASIC = frozenset({"resnet18"})  # of two convolutions a block
FEWEST = 2  # blocks around which depths are tried where the trend gives less: 1 to 3
WIDTH_STEP = 8  # channels, of which devices take a multiple well
SHAPE = ("width", *(f"depth_{stage}" for stage in STAGES))


def fit(published: bytes, parameters: int) -> Trend:
    """Fit the width and the depth of each stage on the published bottleneck networks.

    Among them are those of Big Transfer (arXiv:1912.11370), the same stages at larger widths.
    """
    table = [row for row in rows(published) if row["arch"] not in BASIC]
    return Trend({name: fit_line(points(table, name), parameters) for name in SHAPE}, {})


def points(table: list[Row], name: str) -> list[tuple[float, float]]:
    """Return (parameters, a dimension) of each row."""
    return [(float(row["params_exact"]), _dimension(row, name)) for row in table]


def _dimension(row: Row, name: str) -> float:
    if name == "width":
        return float(row["d_model"]) / (EXPANSION << (len(STAGES) - 1))
    return float(row["n_layers"].split("-")[SHAPE.index(name) - 1])


def cost(m: Dims, trend: Trend) -> float:
    """Return the summed squared deviation from the trend; 1 is one usual deviation."""
    return sum(trend.lines[name].distance(count(m), m[name]) for name in SHAPE)


def axes(need: Need, trend: Trend) -> tuple[Axis, ...]:
    """Return the search space: widths and depths within reach of the trend, one stage filling."""
    size = need.parameters

    def depth(stage: int) -> Axis:
        centre = max(FEWEST, trend.lines[f"depth_{stage}"].at(size))
        step = max(1, floor_power(centre) // 8)
        return Axis(f"depth_{stage}", lambda m: near(centre, step), grid=True)

    return (
        Axis("image_height", lambda m: (task.SIDE,)),
        Axis("image_width", lambda m: (task.SIDE,)),
        Axis("num_channels", lambda m: (task.CHANNELS,)),
        Axis("num_classes", lambda m: (task.CLASSES,)),
        Axis("width", lambda m: _widths(m, size, trend.lines["width"].at(size)), grid=True),
        depth(1),
        depth(2),
        depth(4),
        Axis("depth_3", lambda m: (_third(m, size),), fills=True),
    )


def _widths(m: Dims, parameters: int, centre: float) -> range:
    """Return multiples of a few channels around the trend; for a very small budget, below it."""
    step = max(min(WIDTH_STEP, floor_power(centre / 8)), floor_power(centre) // 16)
    least = dict.fromkeys(SHAPE[1:], 1)

    def fits(width: int) -> bool:
        return count({**m, **least, "width": width}) <= parameters

    return down_to_fit(near(centre, step), fits)


def _third(m: Dims, parameters: int) -> int:
    """Return the most blocks of the third stage, at least one, within the budget."""
    one, two = (count({**m, "depth_3": blocks}) for blocks in (1, 2))
    return max(1, 1 + (parameters - one) // (two - one))


def reasons(m: Dims, need: Need, trend: Trend) -> dict[str, str]:
    """Return why each dimension has its value, with the figures that decided it."""
    size = count(m)
    return {
        **task.dim_reasons(need.fixed),
        **{name: trend.lines[name].said(size) for name in SHAPE},
        "depth_3": f"the most blocks within the parameter count; the trend gives "
        f"{trend.lines['depth_3'].at(size):.1f} of {sum(depths(m))} in all",
    }
