"""The decoder-only transformer language model: dimensions, counts and published shape.

RoPE, RMSNorm, SwiGLU and grouped-query attention, as in Llama 2 (arXiv:2307.09288) and Llama 3
(arXiv:2407.21783).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from metagen.families.family import Axis, Dims, Key, Need, Rule, Value
from metagen.families.grid import divisors, floor_power, granule, near, powers_near
from metagen.families.tasks import language_modeling
from metagen.families.transformer import (
    CACHE_BYTES,
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

name = "decoder"
model_template = "templates/code/models/decoder.py"
task_folder = "templates/code/tasks/language_modeling"
component_types = frozenset(
    {"transformer_decoder", "decoder", "causal_decoder", "embedding", "token_embedding", "lm_head"}
)
dims: Mapping[str, type] = {
    "d_model": int,
    "n_layers": int,
    "n_heads": int,
    "n_kv_heads": int,
    "head_dim": int,
    "d_ff": int,
    "vocab_size": int,
    "max_seq_len": int,
    "rope_theta": float,
    "norm_eps": float,
    "tie_embeddings": bool,
}
rules = (
    Rule(
        ("n_heads", "n_kv_heads"),
        lambda m: m["n_heads"] % m["n_kv_heads"] == 0,
        "each key/value head serves the same number of query heads, "
        "so n_heads must be a multiple of n_kv_heads",
    ),
    Rule(
        ("head_dim",),
        lambda m: m["head_dim"] % 2 == 0,
        "rotary position embedding turns pairs of dimensions, so head_dim must be even",
    ),
)
embedding_modules = ("embed_tokens", "lm_head")
config_keys = language_modeling.CONFIG_KEYS
optimizer = language_modeling.OPTIMIZER
bench_steps = language_modeling.BENCH_STEPS
setting_reasons = language_modeling.reasons
work_unit = "tok"

DEFAULT_CONTEXT = 4096  # tokens; the window of Llama 2
NORM_EPS = 1e-5  # Llama 2 and 3
HEAD_DIMS = (16, 256)
BYTE_VOCABULARY = 256
PROXY = {"d_model": 128, "n_layers": 2, "n_heads": 4, "vocab_size": 256, "max_seq_len": 256}
ATTENTION_SPREAD = 0.1  # of the heads together against d_model, 0.9 to 1 where published
SHAPE = ("n_layers", "d_model", "head_dim", "expansion", "group")
GATED = frozenset({"llama", "mistral", "qwen2", "olmo", "gemma2"})


def fit(published: bytes) -> Trend:
    """Fit the published trend on the decoder language models of `data/published_models.csv`.

    Depth, width and head size are fitted on every row against the parameters outside the
    embedding tables; what gated feed-forward layers and grouped key/value heads changed is fitted
    on the rows that have them.
    """
    table = rows(published, "decoder-LM")
    gated = [row for row in table if row["arch"] in GATED]
    lines = {each: _line(table, each) for each in ("n_layers", "d_model", "head_dim")}
    lines["expansion"] = _line(gated, "ffn", "d_model")
    lines["group"] = _line(gated, "n_heads", "n_kv_heads")
    tied = [float(row["params_exact"]) for row in gated if row["tied_embeddings"] == "1"]
    levels = {
        "embedding_share": statistics.quantiles(map(_embedding_share, gated), n=4)[2],
        "vocab_size": statistics.median(float(row["vocab"]) for row in gated),
        "tied": max(tied),
        "group": max(float(row["n_heads"]) / float(row["n_kv_heads"]) for row in gated),
        "context": max(float(row["context"]) for row in table),
    }
    return Trend(lines, levels)


def _line(table: list[Row], top: str, bottom: str = "") -> Line:
    ratios = ((row, float(row[top]) / (float(row[bottom]) if bottom else 1)) for row in table)
    return fit_line((float(row["params_non_embedding"]), ratio) for row, ratio in ratios)


def _embedding_share(row: Row) -> float:
    return 1 - float(row["params_non_embedding"]) / float(row["params_exact"])


def cost(m: Dims, trend: Trend) -> float:
    """Return the summed squared deviation from the trend; 1 is one usual deviation."""
    body = count(m) - embedding_count(m)
    width = math.log(m["n_heads"] * m["head_dim"] / m["d_model"]) / ATTENTION_SPREAD
    return width**2 + sum(trend.lines[each].distance(body, value) for each, value in _shape(m))


def _shape(m: Dims) -> Iterable[tuple[str, float]]:
    expansion, group = m["d_ff"] / m["d_model"], m["n_heads"] / m["n_kv_heads"]
    values = (m["n_layers"], m["d_model"], m["head_dim"], expansion, group)
    return zip(SHAPE, values, strict=True)


def context(m: Dims) -> int | None:
    """Return the context window in tokens."""
    return int(m["max_seq_len"])


def axes(need: Need, trend: Trend) -> tuple[Axis, ...]:
    """Return the search space; width, depth and head size stay within reach of the trend."""
    body = _body(need, trend)
    depth = trend.lines["n_layers"].at(body)
    group, cap = trend.levels["group"], trend.levels["vocab_size"]
    share = trend.levels["embedding_share"] * need.parameters
    return (
        Axis("tie_embeddings", lambda m: (need.parameters <= trend.levels["tied"],)),
        Axis("norm_eps", lambda m: (NORM_EPS,)),
        Axis("head_dim", lambda m: powers_near(trend.lines["head_dim"].at(body), *HEAD_DIMS)),
        Axis("n_layers", lambda m: near(depth, max(2, floor_power(depth) // 16))),
        Axis("d_model", lambda m: _widths(m, trend.lines["d_model"].at(body))),
        Axis("n_heads", lambda m: (max(1, int(m["d_model"] // m["head_dim"])),)),
        Axis("n_kv_heads", lambda m: _key_value_heads(int(m["n_heads"]), group)),
        Axis("vocab_size", lambda m: (_vocabulary(m, share, cap),)),
        Axis("d_ff", lambda m: (_feed_forward(m, need.parameters),)),
        Axis("max_seq_len", lambda m: (_window(m, need, trend),)),
        Axis("rope_theta", lambda m: (rope_base(m),)),
    )


def _body(need: Need, trend: Trend) -> float:
    """Estimate the parameters outside the tables, which the trend is fitted against."""
    vocabulary = need.pins.get("vocab_size")
    body = need.parameters * (1 - trend.levels["embedding_share"] / 2)
    for _ in range(8 if vocabulary else 0):
        tables = (vocabulary or 0) * trend.lines["d_model"].at(body)
        body = max(need.parameters - tables, need.parameters / 16)
    return body


def _widths(m: Dims, centre: float) -> range:
    return near(centre, max(int(m["head_dim"]), granule(centre)))


def _key_value_heads(heads: int, largest_group: float) -> list[int]:
    return [k for k in divisors(heads) if heads / k <= largest_group]


def _vocabulary(m: Dims, room: float, cap: float) -> int:
    """Return the largest power of two whose tables fit the room, from bytes to the usual size."""
    size = room / (m["d_model"] * (1 if m["tie_embeddings"] else 2))
    largest = 2 ** round(math.log2(cap))
    return int(min(largest, max(BYTE_VOCABULARY, floor_power(size))))


def _feed_forward(m: Dims, parameters: int) -> int:
    """Return the largest even multiple that keeps the count within the budget."""
    step = granule(m["d_model"] / 2)
    room = parameters - count({**m, "d_ff": 0})
    return max(step, int(room / (3 * m["d_model"] * m["n_layers"])) // step * step)


def _window(m: Dims, need: Need, trend: Trend) -> int:
    """Return the declared window, or the largest power of two that the memory holds."""
    if need.context != INFINITE:
        return int(need.context or DEFAULT_CONTEXT)
    if need.memory is None:
        return int(trend.levels["context"])
    room = (need.memory - CACHE_BYTES * count(m)) / cache_bytes(m, 1)
    return int(max(DEFAULT_CONTEXT, floor_power(room)))


def reasons(m: Dims, need: Need, trend: Trend) -> dict[str, str]:
    """Return why each dimension has its value, with the figures that decided it."""
    body, group = count(m) - embedding_count(m), m["n_heads"] / m["n_kv_heads"]
    ungrouped = cache_bytes({**m, "n_kv_heads": m["n_heads"]}, 1)
    levels, expansion = trend.levels, trend.lines["expansion"].at(body)
    tables = embedding_count(m) / count(m)
    return {
        "d_model": _on_trend("d_model", body, trend),
        "n_layers": _on_trend("n_layers", body, trend),
        "head_dim": _on_trend("head_dim", body, trend),
        "n_heads": f"d_model / head_dim = {m['d_model'] / m['head_dim']:g}",
        "n_kv_heads": f"{group:g} query heads share one; the trend gives "
        f"{trend.lines['group'].at(body):.1f} and published models reach {levels['group']:g}; "
        f"the KV cache takes {cache_bytes(m, 1):,} bytes a token, "
        f"against {ungrouped:,} with one for each query head",
        "d_ff": f"the largest multiple of {granule(m['d_model'] / 2)} within the parameter count; "
        f"{m['d_ff'] / m['d_model']:.2f} times d_model, against {expansion:.2f} by the trend",
        "vocab_size": f"the token tables hold {tables:.1%} of the parameters; the largest power of "
        f"two up to the published median of {levels['vocab_size']:,.0f} with at most "
        f"{levels['embedding_share']:.1%}, the upper quartile of published models",
        "max_seq_len": _window_reason(m, need),
        "rope_theta": f"the slowest pair of dimensions makes {rope_turns(m, m['rope_theta']):.3f} "
        f"turns over the window, at most {ROPE_TURNS:g}",
        "norm_eps": "the value of Llama 2 and Llama 3",
        "tie_embeddings": f"published models of this kind tie them up to {levels['tied']:,.0f} "
        f"parameters; this budget is {need.parameters:,}",
    }


def _on_trend(dimension: str, body: float, trend: Trend) -> str:
    line = trend.lines[dimension]
    return (
        f"{line.points} published models give {line.at(body):,.1f} at {body:,} parameters "
        f"outside the token tables (usual deviation {line.spread:.0%})"
    )


def _window_reason(m: Dims, need: Need) -> str:
    if need.context is None:
        return f"no context_window is declared; the default is {DEFAULT_CONTEXT:,} tokens"
    if need.context != INFINITE:
        return f"context window of {need.context:,} tokens"
    if need.memory is None:
        return "an infinite context is asked for and no memory limits it: the longest published"
    used = CACHE_BYTES * count(m) + cache_bytes(m, context(m) or 0)
    return (
        "an infinite context is asked for; the largest power of two at which weights and KV cache, "
        f"{used:,} bytes in bf16, stay within {need.memory:,} bytes"
    )


def proxy(m: Dims) -> dict[str, Value]:
    """Return a byte-level model of about half a million parameters, built like the full one.

    It keeps what is shared and how: tied tables, query heads a key/value head, the width of the
    heads together and of the feed-forward layer, both relative to d_model.
    """
    width, heads = PROXY["d_model"], PROXY["n_heads"]
    group, step = m["n_heads"] / m["n_kv_heads"], granule(width)
    attention = m["n_heads"] * m["head_dim"] / m["d_model"] * width
    small = {
        **m,
        **PROXY,
        "n_kv_heads": min(divisors(heads), key=lambda k: abs(math.log(heads / k / group))),
        "head_dim": max(2, 2 * round(attention / heads / 2)),
        "d_ff": max(step, step * round(m["d_ff"] / m["d_model"] * width / step)),
    }
    return {**small, "rope_theta": rope_base(small)}


def variants(m: Dims) -> Iterable[tuple[str, dict[str, Value]]]:
    """Return single changes to attention, vocabulary, tying and shape."""
    step = granule(m["d_model"])
    changes: tuple[tuple[str, str, Value], ...] = (
        ("one key/value head for each query head", "n_kv_heads", m["n_heads"]),
        ("one key/value head for all query heads", "n_kv_heads", 1),
        ("byte vocabulary", "vocab_size", BYTE_VOCABULARY),
        (
            "token tables untied" if m["tie_embeddings"] else "token tables tied",
            "tie_embeddings",
            not m["tie_embeddings"],
        ),
        ("feed-forward layer of 8/3 the width", "d_ff", step * round(8 / 3 * m["d_model"] / step)),
        ("half the depth", "n_layers", max(1, int(m["n_layers"] // 2))),
    )
    return [(label, {each: value}) for label, each, value in changes if m[each] != value]


def example(m: Dims, length: int) -> list[dict[str, Any]]:
    """Return the shape of one sequence of token ids."""
    return [{"shape": [1, length], "dtype": "int64"}]


def sections(m: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """Return the settings of the language-modelling task's files for a model of this size."""
    return language_modeling.sections(m, count(m), key, reduced=reduced)


def lengths(full: Mapping[str, Any]) -> tuple[int, list[int]]:
    """Return the training length; and the window, an eighth and a sixty-fourth of it."""
    window = full["model"]["max_seq_len"]
    return language_modeling.training_length(full), [max(1, window // n) for n in (64, 8, 1)]
