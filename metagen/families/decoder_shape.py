"""The shape of a decoder: the trend of published ones, the space to search, and the reasons."""

from __future__ import annotations

import bisect
import math
import statistics
from dataclasses import replace

from metagen.families import levers
from metagen.families.decoder_load import load
from metagen.families.family import Axis, Dims, Need, Value
from metagen.families.grid import (
    closest,
    divisors,
    floor_power,
    granule,
    near,
    odd_part,
    powers_near,
)
from metagen.families.transformer import (
    ROPE_TURNS,
    cache_bytes,
    count,
    embedding_count,
    rope_base,
    rope_turns,
)
from metagen.families.trend import Line, Row, Trend, rows
from metagen.families.trend import fit as fit_line
from metagen.units import INFINITE

DEFAULT_CONTEXT = 4096  # tokens; the window of Llama 2
CONTEXTS = tuple(2**power for power in range(12, 31))  # to try for an infinite window
NORM_EPS = 1e-5  # Llama 2 and 3
HEAD_DIMS = (16, 256)
BYTE_VOCABULARY = 256
SMALLER_VOCABULARIES = 2  # halvings of the vocabulary to try where a limit asks for it
HALVING_PRICE = 1.0  # of a vocabulary: about its usual deviation, a factor of two
TYING_PRICE = 1.0  # against the habit at this size
ATTENTION_SPREAD = 0.1  # of the heads together against d_model, 0.9 to 1 where published
OUTSIDE = "parameters outside the token tables"
SHAPE = ("n_layers", "d_model", "head_dim", "expansion")
GATED = frozenset({"llama", "mistral", "qwen2", "olmo", "gemma2"})


def fit(published: bytes, parameters: int) -> Trend:
    """Fit the published trend on the decoder language models of the family's rows.

    Depth, width and head size are fitted on every row against the parameters outside the
    embedding tables; what gated feed-forward layers and grouped key/value heads changed is fitted
    on the rows that have them.
    """
    table = rows(published)
    gated = [row for row in table if row["arch"] in GATED]
    share = statistics.quantiles(map(_embedding_share, gated), n=4)[2]
    tied = [float(row["params_exact"]) for row in gated if row["tied_embeddings"] == "1"]
    levels = {
        "embedding_share": share,
        "vocab_size": statistics.median(float(row["vocab"]) for row in gated),
        "tied": max(tied),
        "group": max(float(row["n_heads"]) / float(row["n_kv_heads"]) for row in gated),
        "context": max(float(row["context"]) for row in table),
        "odd_part": statistics.quantiles((odd_part(int(r["d_model"])) for r in table), n=4)[-1],
    }
    size = parameters * (1 - share / 2)
    lines = {each: _line(table, size, each) for each in ("n_layers", "d_model", "head_dim")}
    lines |= _alike(lines, "n_layers", "d_model")
    lines["expansion"] = _line(gated, size, "ffn", "d_model")
    lines["group"] = _line(gated, size, "n_heads", "n_kv_heads")
    return Trend(lines, levels)


def _alike(lines: dict[str, Line], *names: str) -> dict[str, Line]:
    """Return lines with one spread, so that depth and width give way alike."""
    spread = statistics.fmean(lines[name].spread for name in names)
    return {name: replace(lines[name], spread=spread) for name in names}


def _line(table: list[Row], size: float, top: str, bottom: str = "") -> Line:
    return fit_line(points(table, top, bottom), size, level=bool(bottom))


def points(table: list[Row], top: str, bottom: str = "") -> list[tuple[float, float]]:
    """Return (parameters outside the token tables, a dimension or a ratio of two) of each row."""
    ratios = ((row, float(row[top]) / (float(row[bottom]) if bottom else 1)) for row in table)
    return [(float(row["params_non_embedding"]), ratio) for row, ratio in ratios]


def _embedding_share(row: Row) -> float:
    return 1 - float(row["params_non_embedding"]) / float(row["params_exact"])


def cost(m: Dims, trend: Trend) -> float:
    """Return the summed squared deviation from the trend; 1 is one usual deviation."""
    body = count(m) - embedding_count(m)
    width = math.log(m["n_heads"] * m["head_dim"] / m["d_model"]) / ATTENTION_SPREAD
    values = (m["n_layers"], m["d_model"], m["head_dim"], m["d_ff"] / m["d_model"])
    named = zip(SHAPE, values, strict=True)
    return width**2 + sum(trend.lines[each].distance(body, value) for each, value in named)


def axes(need: Need, trend: Trend) -> tuple[Axis, ...]:
    """Return the search space; width, depth and head size stay within reach of the trend."""
    body = _body(need, trend)
    depth, share = trend.lines["n_layers"].at(body), trend.levels["embedding_share"]
    room, cap = share * need.budget, trend.levels["vocab_size"]
    return (
        _tying(need, trend),
        Axis(
            "head_dim",
            lambda m: powers_near(trend.lines["head_dim"].at(body), *HEAD_DIMS),
            grid=True,
        ),
        Axis("n_layers", lambda m: near(depth, max(2, floor_power(depth) // 16)), grid=True),
        Axis("d_model", lambda m: _widths(m, trend, body), grid=True),
        Axis("n_heads", lambda m: (max(1, int(m["d_model"] // m["head_dim"])),)),
        _grouping(body, trend),
        _vocabulary(room, cap),
        Axis("d_ff", lambda m: (_feed_forward(m, need.budget),), fills=True),
        *levers.local_attention(need, DEFAULT_CONTEXT),
        levers.weights(),
        levers.cache(),
        Axis("max_seq_len", lambda m: (_window(m, need, trend),)),
        Axis("rope_theta", lambda m: (rope_base(m),)),
        Axis("norm_eps", lambda m: (NORM_EPS,)),
    )


def _body(need: Need, trend: Trend) -> float:
    """Estimate the parameters outside the tables, which the trend is fitted against."""
    vocabulary = need.pins.get("vocab_size")
    body = need.budget * (1 - trend.levels["embedding_share"] / 2)
    tables = 1 if need.pins.get("tie_embeddings", need.budget <= trend.levels["tied"]) else 2
    for _ in range(8 if vocabulary else 0):
        held = tables * (vocabulary or 0) * trend.lines["d_model"].at(body)
        body = max(need.budget - held, need.budget / 16)
    return body


def _widths(m: Dims, trend: Trend, body: float) -> list[int]:
    """Return round widths of an even number of heads: a power of two times a small odd number."""
    centre, largest = trend.lines["d_model"].at(body), trend.levels["odd_part"]
    widths = near(centre, max(2 * int(m["head_dim"]), granule(centre)))
    return [width for width in widths if odd_part(width) <= largest]


def _tying(need: Need, trend: Trend) -> Axis:
    """Return the lever of tied token tables: usual up to a size, and a saving above it."""
    usual = need.budget <= trend.levels["tied"]
    return Axis(
        "tie_embeddings",
        lambda m: (True,) if usual else (False, True),
        lambda m, value: 0.0 if value == usual else TYING_PRICE,
        lambda m: "tied token tables" if m["tie_embeddings"] else "untied token tables",
    )


def _grouping(body: float, trend: Trend) -> Axis:
    """Return the lever of fewer key/value heads, up to the largest published group."""
    line, largest = trend.lines["group"], trend.levels["group"]

    def choices(m: Dims) -> list[int]:
        heads = int(m["n_heads"])
        allowed = [k for k in divisors(heads) if heads / k <= largest]
        allowed = [k for k in allowed if odd_part(k) == 1] or allowed  # which devices share evenly
        usual = closest(allowed, heads / line.at(body))
        return [usual, *(k for k in reversed(allowed) if k < usual)]

    def price(m: Dims, value: Value | None) -> float:
        usual, group = choices(m)[0], m["n_heads"] / (value or 1)
        plain = line.distance(body, m["n_heads"] / usual)
        return max(0.0, line.distance(body, group) - plain)

    return Axis("n_kv_heads", choices, price, lambda m: f"{m['n_kv_heads']} key/value heads")


def _vocabulary(room: float, cap: float) -> Axis:
    """Return the lever of a smaller vocabulary; the usual one is a power of two that has room."""

    def choices(m: Dims) -> list[int]:
        size = room / (m["d_model"] * (1 if m["tie_embeddings"] else 2))
        largest = min(2 ** round(math.log2(cap)), max(BYTE_VOCABULARY, floor_power(size)))
        smaller = (int(largest) >> n for n in range(SMALLER_VOCABULARIES + 1))
        return [size for size in smaller if size >= BYTE_VOCABULARY]

    def price(m: Dims, value: Value | None) -> float:
        return HALVING_PRICE * math.log2(choices(m)[0] / (value or 1))

    words = "a vocabulary of {:,}"
    return Axis("vocab_size", choices, price, lambda m: words.format(m["vocab_size"]))


def _feed_forward(m: Dims, parameters: int) -> int:
    """Return the largest even multiple that keeps the count within the budget."""
    step = granule(m["d_model"] / 2)
    room = parameters - count({**m, "d_ff": 0})
    return max(step, int(room / (3 * m["d_model"] * m["n_layers"])) // step * step)


def _window(m: Dims, need: Need, trend: Trend) -> int:
    """Return the declared window, or the largest power of two that the limits hold."""
    if need.context != INFINITE:
        return int(need.context or DEFAULT_CONTEXT)
    if not need.limits:
        return int(trend.levels["context"])
    fitting = bisect.bisect_left(
        CONTEXTS, True, key=lambda window: need.excess(load({**m, "max_seq_len": window})) > 0
    )
    return int(CONTEXTS[max(0, fitting - 1)])


def reasons(m: Dims, need: Need, trend: Trend) -> dict[str, str]:
    """Return why each dimension has its value, with the figures that decided it."""
    body, group = count(m) - embedding_count(m), m["n_heads"] / m["n_kv_heads"]
    ungrouped = cache_bytes({**m, "n_kv_heads": m["n_heads"]}, 1)
    levels, expansion = trend.levels, trend.lines["expansion"].at(body)
    return {
        "d_model": trend.lines["d_model"].said(body, OUTSIDE),
        "n_layers": trend.lines["n_layers"].said(body, OUTSIDE),
        "head_dim": trend.lines["head_dim"].said(body, OUTSIDE),
        "n_heads": f"d_model / head_dim = {m['d_model'] / m['head_dim']:g}",
        "n_kv_heads": f"{group:g} query heads share one; the trend gives "
        f"{trend.lines['group'].at(body):.1f} and published models reach {levels['group']:g}; "
        f"a token takes {cache_bytes(m, 1):,} bytes of bf16 cache in all layers, "
        f"against {ungrouped:,} with one for each query head",
        "d_ff": f"the largest multiple of {granule(m['d_model'] / 2)} within the parameter count; "
        f"{m['d_ff'] / m['d_model']:.2f} times d_model, against {expansion:.2f} by the trend",
        "vocab_size": _vocabulary_reason(m, need, trend),
        "max_seq_len": _window_reason(m, need),
        "window": "the tokens that a local layer sees, as published with such a pattern",
        "global_every": "full attention is not asked for",
        "rope_theta": f"the slowest pair of dimensions makes {rope_turns(m, m['rope_theta']):.3f} "
        f"turns over the window, at most {ROPE_TURNS:g}",
        "norm_eps": "the value of Llama 2 and Llama 3",
        "tie_embeddings": f"published models of this kind tie them up to {levels['tied']:,.0f} "
        f"parameters; this budget is {need.budget:,}",
        "weight_bits": f"bf16, as trained; {_bits_reason(m, need)}",
        "cache_bits": f"bf16, as the weights; {_bits_reason(m, need)}",
    }


def _vocabulary_reason(m: Dims, need: Need, trend: Trend) -> str:
    share, cap = trend.levels["embedding_share"], trend.levels["vocab_size"]
    held = f"the token tables hold {embedding_count(m) / count(m):.1%} of the parameters"
    usual = f"{share:.1%} of the budget, the upper quartile of published models"
    if embedding_count(m) > share * need.budget:
        return f"{held}; a token for each byte, the least that is tried, takes more than {usual}"
    return (
        f"{held}; the largest power of two up to the published median of {cap:,.0f} whose tables "
        f"take at most {usual}"
    )


def _bits_reason(m: Dims, need: Need) -> str:
    if need.excess(load(m)):
        return "fewer would hardly bring nearer what exceeds its limit"
    return "no limit asks for fewer"


def _window_reason(m: Dims, need: Need) -> str:
    if need.context is None:
        return f"no context_window is declared; the default is {DEFAULT_CONTEXT:,} tokens"
    if need.context != INFINITE:
        return f"context window of {need.context:,} tokens"
    if not need.limits:
        return "an infinite context is asked for and no limit bounds it: the longest published"
    held = "; ".join(f"{each.constraint} {each.said(load(m))}" for each in need.limits)
    return (
        "an infinite context is asked for; this is the largest power of two within the limits: "
        f"{held}"
    )
