"""What a Transformer gives up, at a price, to meet a limit.

Its levers are tied token tables, fewer key/value heads, a smaller vocabulary, layers that see a
window only, and fewer bits for weights and for the KV cache.

Prices order the levers. They are in usual deviations squared, as the distance from a published
shape is; they follow the loss of quality that published work reports and were not measured here
(docs/sizing.md has the table and the sources).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from metagen.families.axes import Axis, Rule, closest, divisors, floor_power, odd_part
from metagen.families.demand import Need
from metagen.families.family import Dims, Value
from metagen.families.transformer import SHAPE, embedding_count
from metagen.families.trend import Trend
from metagen.tasks.language_modeling import BYTE_VOCABULARY
from metagen.units import INFINITE

WEIGHT_PRICES = {16: 0.0, 8: 0.25, 4: 1.5}
CACHE_PRICES = {16: 0.0, 8: 0.5}
TYING_PRICE = 1.0  # Tables tied or untied against the habit of models of this size.
SMALLER_VOCABULARIES = 2  # A limit may halve the vocabulary this often.
HALVING_PRICE = 1.0  # Half the vocabulary is one usual deviation: published ones spread by two.
# Prices of attention patterns, by `global_every`: the distance from one global layer to the next.
PATTERN_PRICES: dict[Value | None, float] = {
    None: 0.0,
    2: 0.25,  # 1:1 as Gemma 2 (arXiv:2408.00118)
    4: 0.375,  # 3:1 as Command A (arXiv:2504.00698)
    6: 0.5,  # 5:1 as Gemma 3 (arXiv:2503.19786)
}
FULL = 1  # The value of `global_every` that pins full attention.
# Prices of windows, by the tokens that a local layer sees.
WINDOW_PRICES: dict[Value | None, float] = {
    4096: 0.0,  # Gemma 2, Command A
    1024: 0.25,  # Gemma 3
}


def _one_of(name: str, prices: Mapping[int, float]) -> Rule:
    """Return the rule that a number has one of the formats that the layers can read."""
    formats = ", ".join(map(str, prices))
    return Rule((name,), lambda m: m[name] in prices, f"{name} is one of {formats}")


def _format(name: str, prices: Mapping[int, float], words: str) -> Axis:
    """Return the lever of fewer bits a number; `words` says what has them."""
    return Axis(
        name,
        lambda m: prices,
        lambda m, value: prices[int(value or 16)],
        lambda m: f"{words} in {m[name]} bits",
    )


WEIGHTS = _format("weight_bits", WEIGHT_PRICES, "weights")
CACHE = _format("cache_bits", CACHE_PRICES, "a KV cache")
RULES = (
    Rule(
        ("window", "max_seq_len"),
        lambda m: m["window"] < m["max_seq_len"],
        "a local layer sees a part of the context, so window must be below max_seq_len",
    ),
    Rule(
        ("global_every", "window"),
        lambda m: m["global_every"] > FULL,
        f"global_every: {FULL} is full attention, which has no window",
    ),
    Rule(
        ("global_every", "n_layers"),
        lambda m: m["global_every"] <= m["n_layers"],
        "one layer at least sees the whole context, so global_every is at most n_layers",
    ),
    _one_of("weight_bits", WEIGHT_PRICES),
    _one_of("cache_bits", CACHE_PRICES),
)


def tying(budget: int, trend: Trend) -> Axis:
    """Return the lever of tied token tables: usual up to a size, and a saving above it."""
    usual = budget <= trend.levels["tied"]
    return Axis(
        "tie_embeddings",
        lambda m: (True,) if usual else (False, True),
        lambda m, value: 0.0 if value == usual else TYING_PRICE,
        lambda m: "tied token tables" if m["tie_embeddings"] else "untied token tables",
    )


def grouping(size: float, trend: Trend) -> Axis:
    """Return the lever of fewer key/value heads, up to the largest published group."""
    line, largest = trend.lines["group"], trend.levels["group"]

    def choices(m: Dims) -> list[int]:
        heads = int(m["n_heads"])
        allowed = [k for k in divisors(heads) if heads / k <= largest]
        # A power of two of heads is shared evenly by devices.
        allowed = [k for k in allowed if odd_part(k) == 1] or allowed
        usual = closest(allowed, heads / line.at(size))
        return [usual, *(k for k in reversed(allowed) if k < usual)]

    def price(m: Dims, value: Value | None) -> float:
        usual, group = choices(m)[0], m["n_heads"] / (value or 1)
        plain = line.distance(size, m["n_heads"] / usual)
        return max(0.0, line.distance(size, group) - plain)

    return Axis("n_kv_heads", choices, price, lambda m: f"{m['n_kv_heads']} key/value heads")


def vocabulary(budget: int, trend: Trend) -> Axis:
    """Return the lever of a smaller vocabulary; the usual one is a power of two that has room."""
    room, cap = trend.levels["embedding_share"] * budget, trend.levels["vocab_size"]

    def choices(m: Dims) -> list[int]:
        size = room / (m["d_model"] * (1 if m["tie_embeddings"] else 2))
        largest = min(2 ** round(math.log2(cap)), max(BYTE_VOCABULARY, floor_power(size)))
        smaller = (int(largest) >> n for n in range(SMALLER_VOCABULARIES + 1))
        return [size for size in smaller if size >= BYTE_VOCABULARY]

    def price(m: Dims, value: Value | None) -> float:
        return HALVING_PRICE * math.log2(choices(m)[0] / (value or 1))

    return Axis("vocab_size", choices, price, lambda m: f"a vocabulary of {m['vocab_size']:,}")


def vocabulary_reason(m: Dims, parameters: int, need: Need, trend: Trend) -> str:
    """Return why the vocabulary is as large as it is, in a model with so many parameters."""
    share, cap = trend.levels["embedding_share"], trend.levels["vocab_size"]
    tables = embedding_count(m)
    held = f"the token tables hold {tables / parameters:.1%} of the parameters"
    usual = f"{share:.1%} of the budget, the upper quartile of published models"
    if tables > share * need.budget:
        return f"{held}; the smallest that is tried, a token a byte, takes more than {usual}"
    return (
        f"{held}; the largest power of two up to the published median of {cap:,.0f} whose "
        f"tables take at most {usual}"
    )


def local_attention(need: Need, default_context: int) -> tuple[Axis, Axis]:
    """Return the levers of layers that see a window only: how many, and how large a window.

    A spec whose pins state a whole shape has no such lever, unless it pins one of the two.
    """
    context = need.context or default_context
    windows = [w for w in WINDOW_PRICES if w and (context == INFINITE or w < int(context))]
    local = "window" in need.pins

    def patterns(m: Dims) -> Iterable[Value | None]:
        fitting = [n for n in PATTERN_PRICES if n and n <= m["n_layers"] and (windows or local)]
        if local:
            return fitting
        return [None] if all(name in need.pins for name in SHAPE) else [None, *fitting]

    def price(m: Dims, value: Value | None) -> float:
        return PATTERN_PRICES.get(value, 0.0)

    return (
        Axis("global_every", patterns, price, pattern, off=FULL),
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
