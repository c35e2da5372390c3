"""Levers that families share: what a design gives up, at a price, to meet a limit.

Prices order the levers; they are in usual deviations squared, as the distance from a published
shape is. They follow how much quality published work reports lost, and are no measurements of ours
(docs/sizing.md has the table and the sources).
"""

from __future__ import annotations

from collections.abc import Iterable

from metagen.families.family import Axis, Dims, Need, Rule, Value
from metagen.units import INFINITE

WEIGHT_PRICES = {16: 0.0, 8: 0.25, 4: 1.5}
CACHE_PRICES = {16: 0.0, 8: 0.5}
# 1:1 as Gemma 2 (arXiv:2408.00118), 3:1 as Command A (arXiv:2504.00698), 5:1 as Gemma 3
# (arXiv:2503.19786); by the distance from one global layer to the next, and by their windows.
PATTERN_PRICES: dict[Value | None, float] = {None: 0.0, 2: 0.25, 4: 0.375, 6: 0.5}
WINDOW_PRICES: dict[Value | None, float] = {
    4096: 0.0,
    1024: 0.25,
}  # of Gemma 2 and Command A; of Gemma 3

RULES = (
    Rule(
        ("window", "max_seq_len"),
        lambda m: m["window"] < m["max_seq_len"],
        "a local layer sees a part of the context, so window must be below max_seq_len",
    ),
    Rule(
        ("global_every",),
        lambda m: m["global_every"] > 1,
        "of every global_every layers one is global, so it is at least 2",
    ),
    Rule(
        ("global_every", "n_layers"),
        lambda m: m["global_every"] <= m["n_layers"],
        "one layer at least sees the whole context, so global_every is at most n_layers",
    ),
    Rule(
        ("weight_bits",),
        lambda m: m["weight_bits"] in WEIGHT_PRICES,
        f"weight_bits is one of {', '.join(map(str, WEIGHT_PRICES))}",
    ),
    Rule(
        ("cache_bits",),
        lambda m: m["cache_bits"] in CACHE_PRICES,
        f"cache_bits is one of {', '.join(map(str, CACHE_PRICES))}",
    ),
)


def weights() -> Axis:
    """Return the lever of fewer bits a weight."""
    return Axis(
        "weight_bits",
        lambda m: WEIGHT_PRICES,
        lambda m, value: WEIGHT_PRICES[int(value or 16)],
        lambda m: f"weights in {m['weight_bits']} bits",
    )


def cache() -> Axis:
    """Return the lever of fewer bits a number of the KV cache."""
    return Axis(
        "cache_bits",
        lambda m: CACHE_PRICES,
        lambda m, value: CACHE_PRICES[int(value or 16)],
        lambda m: f"a KV cache in {m['cache_bits']} bits",
    )


def local_attention(need: Need, default_context: int) -> tuple[Axis, Axis]:
    """Return the levers of layers that see a window only: how many, and how large a window."""
    context = need.context or default_context
    windows = [w for w in WINDOW_PRICES if w and (context == INFINITE or w < int(context))]
    local = "window" in need.pins

    def patterns(m: Dims) -> Iterable[Value | None]:
        fitting = [n for n in PATTERN_PRICES if n and n <= m["n_layers"] and (windows or local)]
        return fitting if local else [None, *fitting]

    return (
        Axis("global_every", patterns, lambda m, value: PATTERN_PRICES.get(value, 0.0), pattern),
        Axis(
            "window",
            lambda m: windows if "global_every" in m else (None,),
            lambda m, value: WINDOW_PRICES.get(value, 0.0),
            lambda m: f"a window of {m['window']:,} tokens" if "window" in m else "no window",
        ),
    )


def pattern(m: Dims) -> str:
    """Return the pattern of attention in words, such as `local:global 5:1, window 4,096`."""
    if "global_every" not in m:
        return "full attention"
    return f"local:global {m['global_every'] - 1}:1, window {m['window']:,}"
