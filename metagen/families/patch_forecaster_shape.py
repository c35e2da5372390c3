"""The shape of a patch transformer: the trend of published ones, the space to search, reasons."""

from __future__ import annotations

import math

from metagen.families.family import Axis, Dims, Need, Value
from metagen.families.grid import down_to_fit, floor_power, near, powers_near
from metagen.families.patch_forecaster_load import blocks, count, patches
from metagen.families.trend import Row, Trend, rows
from metagen.families.trend import fit as fit_line

LOOKBACK, HORIZON = 336, 96  # steps; the shorter of PatchTST's, for a spec that declares none
STRIDE = 8  # steps; a patch has twice as many, as PatchTST's
STRIDES = range(4, 17)  # within a factor of two of it
HEAD_DIMS = (4, 128)
NORM_EPS = 1e-5
DROPOUT = 0.2
STEP = 4  # widths are multiples of it
LEAST_WIDTH = 2  # a norm over one number leaves nothing of it
FINE = 4  # and so are those of feed-forward layers, which fill the budget
LEAST_BODY = 256  # the smallest share of the parameters in the blocks is one in so many
SHAPE = ("n_layers", "d_model", "head_dim", "expansion")


def fit(published: bytes, parameters: int) -> Trend:
    """Fit depth, width, head size and expansion on the published transformers over patches."""
    table = rows(published)
    lines = {
        name: fit_line(points(table, name), parameters, level=name == "expansion") for name in SHAPE
    }
    return Trend(lines, {})


def points(table: list[Row], name: str) -> list[tuple[float, float]]:
    """Return (weights of the blocks, a dimension or a ratio of two) of each row."""
    top, bottom = ("ffn", "d_model") if name == "expansion" else (name, "")
    return [
        (
            float(row["params_non_embedding"]),
            float(row[top]) / (float(row[bottom]) if bottom else 1),
        )
        for row in table
    ]


def cost(m: Dims, trend: Trend) -> float:
    """Return the summed squared deviation from the trend; 1 is one usual deviation."""
    width, size = m["d_model"], blocks(m)
    values = (m["n_layers"], width, width / m["n_heads"], m["d_ff"] / width)
    named = zip(SHAPE, values, strict=True)
    return sum(trend.lines[each].distance(size, value) for each, value in named)


def axes(need: Need, trend: Trend) -> tuple[Axis, ...]:
    """Return the search space; width, depth and head size stay within reach of the trend."""
    size, body = need.budget, _body(need, trend)
    depth, width = (trend.lines[each].at(body) for each in ("n_layers", "d_model"))
    heads = powers_near(trend.lines["head_dim"].at(body), *HEAD_DIMS)
    return (
        Axis("lookback", lambda m: (LOOKBACK,)),
        Axis("horizon", lambda m: (HORIZON,)),
        Axis("stride", lambda m: (stride(int(m["lookback"])),)),
        Axis("patch_len", lambda m: (min(2 * int(m["stride"]), int(m["lookback"]) - 1),)),
        Axis("n_layers", lambda m: near(depth, max(1, floor_power(depth) // 16)), grid=True),
        Axis("d_model", lambda m: _widths(m, size, width), grid=True),
        Axis("n_heads", lambda m: _heads(m, heads), grid=True),
        Axis("d_ff", lambda m: (_feed_forward(m, size),), fills=True),
        Axis("dropout", lambda m: (DROPOUT,)),
        Axis("norm_eps", lambda m: (NORM_EPS,)),
    )


def _body(need: Need, trend: Trend) -> float:
    """Estimate the weights of the blocks, which the trend is fitted against, without the ends."""
    past = int(need.pins.get("lookback", LOOKBACK))
    patches = {"stride": stride(past), "patch_len": min(2 * stride(past), past - 1)}
    ends: dict[str, Value] = {"lookback": past, "horizon": HORIZON, **patches, **need.pins}

    def whole(body: float) -> float:
        width = trend.lines["d_model"].at(body)
        return body + count({**ends, "d_model": width, "n_layers": 0, "d_ff": 0})

    low, high = need.budget / LEAST_BODY, float(need.budget)
    for _ in range(32):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if whole(middle) < need.budget else (low, middle)
    return low


def stride(lookback: int) -> int:
    """Return the stride that leaves the fewest steps out where a patch has twice as many.

    Among those that leave as few, it is the nearest to PatchTST's.
    """
    fitting = [s for s in STRIDES if 2 * s < lookback] or [max(1, (lookback - 1) // 2)]
    return min(fitting, key=lambda s: (lookback % s, abs(math.log(s / STRIDE))))


def _widths(m: Dims, parameters: int, centre: float) -> range:
    """Return multiples of a few dimensions around the trend; where none fits, below it."""

    def fits(width: int) -> bool:
        return count({**m, "d_model": width, "d_ff": FINE}) <= parameters

    return down_to_fit(near(centre, max(STEP, floor_power(centre) // 16)), fits, LEAST_WIDTH)


def _heads(m: Dims, sizes: list[int]) -> list[int]:
    """Return the numbers of heads that cut the width in one of some sizes."""
    width = int(m["d_model"])
    return [width // size for size in sizes if width % size == 0] or [1]


def _feed_forward(m: Dims, parameters: int) -> int:
    """Return the largest multiple of FINE that keeps the count within the budget."""
    room = parameters - count({**m, "d_ff": 0})
    return max(FINE, int(room / (m["n_layers"] * (2 * m["d_model"] + 1))) // FINE * FINE)


def reasons(m: Dims, need: Need, trend: Trend) -> dict[str, str]:
    """Return why each dimension has its value, with the figures that decided it."""
    size, expansion = blocks(m), trend.lines["expansion"].at(blocks(m))
    return {
        "lookback": _declared("lookback", need),
        "horizon": _declared("horizon", need),
        "stride": f"leaves {m['lookback'] % m['stride']} steps of the lookback out, the nearest to "
        f"PatchTST's {STRIDE} of those that leave as few",
        "patch_len": f"twice the stride, as in PatchTST: {patches(m)} patches",
        "n_layers": trend.lines["n_layers"].said(size, "weights of the blocks"),
        "d_model": trend.lines["d_model"].said(size, "weights of the blocks"),
        "n_heads": f"heads of {m['d_model'] / m['n_heads']:g} dimensions; published models give "
        f"{trend.lines['head_dim'].at(size):.0f}",
        "d_ff": f"the largest multiple of {FINE} within the parameter count; "
        f"{m['d_ff'] / m['d_model']:.2f} times d_model, against {expansion:.2f} by the trend",
        "dropout": "as PatchTST on its Weather data",
        "norm_eps": "the default of PyTorch and of transformers",
    }


def _declared(name: str, need: Need) -> str:
    default = {"lookback": LOOKBACK, "horizon": HORIZON}[name]
    if name in need.fixed:
        return f"task.{name}"
    return f"no task.{name} is declared: the {default} steps of PatchTST"
