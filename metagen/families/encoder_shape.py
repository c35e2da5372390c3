"""The shape of an encoder: the trend of published ones, the space to search, and the reasons."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from metagen.families import vocabulary
from metagen.families.encoder import body, encoder_count, tables
from metagen.families.family import Axis, Dims, Need
from metagen.families.grid import closest, divisors, granule, near, odd_part
from metagen.families.trend import Row, Trend, rows
from metagen.families.trend import fit as fit_line
from metagen.units import INFINITE

NORM_EPS = 1e-12  # BERT
DROPOUT = 0.1  # BERT, section A.2
SEGMENTS = 2  # BERT: sentence A and sentence B
DEFAULT_CONTEXT = 512  # tokens; the window of BERT
OUTSIDE = "parameters outside the tables"
SHAPE = ("n_layers", "d_model", "expansion")

Count = Callable[[Dims], int]


def fit(published: bytes, parameters: int) -> Trend:
    """Fit the published trend on the encoders of the family's rows.

    Depth, width and the feed-forward layer relative to it are fitted against the parameters
    outside the tables.
    """
    table = rows(published)
    share = statistics.median(map(_table_share, table))
    levels = {
        "table_share": share,
        "vocab_size": statistics.median(int(row["vocab"]) for row in table),
        "head_dim": statistics.median(int(row["head_dim"]) for row in table),
        "context": max(float(row["context"]) for row in table),
        "odd_part": max(odd_part(int(row["d_model"])) for row in table),
    }
    size = parameters * (1 - share)
    lines = {
        each: fit_line(_points(table, each), size, level=each == "expansion") for each in SHAPE
    }
    return Trend(lines, levels)


def _points(table: list[Row], name: str) -> list[tuple[float, float]]:
    def value(row: Row) -> float:
        return (
            float(row["ffn"]) / float(row["d_model"]) if name == "expansion" else float(row[name])
        )

    return [(float(row["params_non_embedding"]), value(row)) for row in table]


def _table_share(row: Row) -> float:
    return 1 - float(row["params_non_embedding"]) / float(row["params_exact"])


def cost(m: Dims, trend: Trend) -> float:
    """Return the summed squared deviation from the trend; 1 is one usual deviation."""
    size, values = body(m), (m["n_layers"], m["d_model"], m["d_ff"] / m["d_model"])
    named = zip(SHAPE, values, strict=True)
    return sum(trend.lines[each].distance(size, value) for each, value in named)


def axes(need: Need, trend: Trend, count: Count) -> tuple[Axis, ...]:
    """Return the search space; width and depth stay within reach of the trend.

    Args:
        need: What the dimensions must meet.
        trend: What published encoders look like.
        count: The family's exact count.
    """
    size = _size(need, trend)
    depth, width = trend.lines["n_layers"].at(size), trend.lines["d_model"].at(size)
    head = int(trend.levels["head_dim"])
    return (
        Axis("n_layers", lambda m: near(depth, 1), grid=True),
        Axis("d_model", lambda m: _widths(width, trend), grid=True),
        Axis("n_heads", lambda m: (closest(divisors(int(m["d_model"])), m["d_model"] / head),)),
        Axis("vocab_size", lambda m: (_vocabulary(m, need, trend),)),
        Axis("max_seq_len", lambda m: (_window(need),)),
        Axis("n_segments", lambda m: (SEGMENTS,)),
        Axis("d_ff", lambda m: (_feed_forward(m, need.budget, count),), fills=True),
        Axis("norm_eps", lambda m: (NORM_EPS,)),
        Axis("dropout", lambda m: (DROPOUT,)),
    )


def _size(need: Need, trend: Trend) -> float:
    """Estimate the parameters outside the tables, which the trend is fitted against."""
    size = need.budget * (1 - trend.levels["table_share"])
    vocabulary = need.pins.get("vocab_size", trend.levels["vocab_size"])
    for _ in range(8):
        width = need.pins.get("d_model", trend.lines["d_model"].at(size))
        size = max(need.budget - vocabulary * width, need.budget / 16)
    return size


def _widths(centre: float, trend: Trend) -> list[int]:
    """Return round widths: a power of two times a small odd number."""
    widths = near(centre, granule(centre))
    return [width for width in widths if odd_part(width) <= trend.levels["odd_part"]]


def _vocabulary(m: Dims, need: Need, trend: Trend) -> int:
    return vocabulary.entries(*_table(m, need, trend))


def _table(m: Dims, need: Need, trend: Trend) -> tuple[int, int, int]:
    """Return the published vocabulary, the width of a token and the parameters to fill."""
    return int(trend.levels["vocab_size"]), int(m["d_model"]), need.budget


def _window(need: Need) -> int:
    return DEFAULT_CONTEXT if need.context in (None, INFINITE) else int(need.context or 0)


def _feed_forward(m: Dims, parameters: int, count: Count) -> int:
    """Return the largest even multiple that keeps the count within the budget."""
    step = granule(m["d_model"] / 2)
    room = parameters - count({**m, "d_ff": 0})
    return max(step, int(room / ((2 * m["d_model"] + 1) * m["n_layers"])) // step * step)


def reasons(m: Dims, need: Need, trend: Trend) -> dict[str, str]:
    """Return why each dimension has its value, with the figures that decided it."""
    share, head = tables(m) / encoder_count(m), trend.levels["head_dim"]
    expansion = trend.lines["expansion"].at(body(m))
    return {
        "d_model": trend.lines["d_model"].said(body(m), OUTSIDE),
        "n_layers": trend.lines["n_layers"].said(body(m), OUTSIDE),
        "n_heads": f"heads of {m['d_model'] / m['n_heads']:g} dimensions; published encoders have "
        f"{head:g}",
        "d_ff": f"the largest multiple of {granule(m['d_model'] / 2)} within the parameter count; "
        f"{m['d_ff'] / m['d_model']:.2f} times d_model, against {expansion:.2f} by the trend",
        "vocab_size": f"{vocabulary.reason(int(m['vocab_size']), *_table(m, need, trend))}; "
        f"the tables hold {share:.1%} of the encoder's parameters",
        "max_seq_len": _window_reason(need),
        "n_segments": "as BERT: the two texts of a pair are told apart",
        "norm_eps": "the value of BERT",
        "dropout": "the share of BERT's pre-training and fine-tuning",
    }


def _window_reason(need: Need) -> str:
    if need.context is None:
        return f"no context_window is declared; the default is {DEFAULT_CONTEXT:,} tokens, as BERT"
    if need.context == INFINITE:
        return "an infinite context is asked for; each position has a row of a table, as in BERT"
    return f"context window of {need.context:,} tokens"
