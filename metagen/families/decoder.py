"""The decoder-only Transformer language model, as Llama 2 (arXiv:2307.09288) and 3 (2407.21783).

RoPE, RMSNorm, SwiGLU and grouped-query attention. Symbols: d = d_model, L = n_layers, h = n_heads,
k = n_kv_heads, s = head_dim, f = d_ff, V = vocab_size, T = tokens, w = window. Where a design has
`global_every` = n, every n-th layer sees the whole context and the others w tokens.
"""

from __future__ import annotations

import bisect
import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from metagen.families import axes, levers, transformer
from metagen.families.axes import Axis, Rule
from metagen.families.blocks import Blocks
from metagen.families.demand import ALONE, Cost, Demand, Need, Use
from metagen.families.family import Dims, Figures, Peak, Trait, Value, dim
from metagen.families.parts import HALF, Part
from metagen.families.transformer import PROMPT
from metagen.families.trend import Row, Trend, table_share
from metagen.tasks.language_modeling import (
    BYTE_VOCABULARY,
    TOKENS_PER_PARAMETER,
    LanguageModeling,
    sequence,
)
from metagen.units import INFINITE

DEFAULT_CONTEXT = 4096  # tokens; the window of Llama 2
CONTEXTS = tuple(2**power for power in range(12, 31))  # windows to try for an infinite one
HEAD_DIMS = (16, 256)
# Depth, width and head size follow all decoders; the feed-forward layer and the grouping of heads
# follow those that have a gated layer and, mostly, grouped heads.
GATED = frozenset({"llama", "mistral", "qwen2", "olmo", "gemma2"})
ATTENTION_SPREAD = 0.1  # Published models have n_heads * head_dim / d_model of 0.9 to 1.
PROXY_WINDOW = 32  # tokens; half of a training sequence of the proxy
GROUPING = Trait("n_heads / n_kv_heads", lambda m: m["n_heads"] / m["n_kv_heads"], level=True)


class Decoder(Blocks):
    """Token table; pre-norm blocks of causal attention and SwiGLU; the same or another table."""

    name = "decoder"
    kind = "decoder-only Transformer language model"
    task = LanguageModeling()
    components = "transformer_decoder decoder causal_decoder embedding token_embedding lm_head"
    traits = {**Blocks.traits, "head_dim": dim("head_dim")}
    rules = (
        axes.divides(
            "n_kv_heads", "n_heads", "each key/value head serves the same number of query heads"
        ),
        Rule(
            ("head_dim",),
            lambda m: m["head_dim"] % 2 == 0,
            "rotary position embedding turns pairs of dimensions, so head_dim must be even",
        ),
        *levers.RULES,
    )
    constants = {"norm_eps": (1e-5, "the value of Llama 2 and Llama 3")}
    left_out = {"global_every": "every layer attends to the whole context"}
    formats = {"weight_bits": int, "cache_bits": int}
    context_dim = "max_seq_len"
    embedding_modules = ("embed_tokens", "lm_head")
    size_column = "params_non_embedding"
    size_unit = "parameters outside the token tables"
    arithmetic = "text"
    divided = ("n_kv_heads", "d_ff")
    prompted = True
    optimal_units = (TOKENS_PER_PARAMETER, "Hoffmann et al., 2022, arXiv:2203.15556, table 3")
    proxy_dims = {
        **{"d_model": 128, "n_layers": 2, "n_heads": 4},
        # A narrow layer reads more text in the same time, which lowers the loss more than width.
        "d_ff": 256,
        # The head starts at 0 and the table does not: tied to it, the same training ended 0.10 bits
        # per byte higher.
        "tie_embeddings": False,
    }
    template = "templates/families/decoder/model_local.py"

    def model_template(self, m: Dims) -> str:
        """Return the plain decoder, or the one most of whose layers see a window."""
        return self.template if "global_every" in m else "templates/families/decoder/model.py"

    # What a decoder is made of, and what it asks of its hardware.

    def parts(self, m: Dims) -> list[Part]:
        return transformer.layers(m)

    def size(self, m: Dims) -> int:
        return self.count(m) - transformer.embedding_count(m)

    def count(self, m: Dims) -> int:
        return transformer.taken(m).parameters

    def peaks(self, m: Dims) -> list[Peak]:
        """Return the inside of a block and the logits, for each token of a part of the prompt.

        A block holds the residual stream, its normalized copy, and the wider of the feed-forward
        layer (gate, up and their product) and attention (queries, keys, values and result).
        """
        return [Peak(n, f"{place} {HALF * n:,}") for place, n in self._held(m).items()]

    def _held(self, m: Dims) -> dict[str, int]:
        """Return the numbers held at each of those places."""
        d, tokens = int(m["d_model"]), self.input_length(m)
        attention = 2 * int((m["n_heads"] + m["n_kv_heads"]) * m["head_dim"])
        return {
            "block": tokens * (2 * d + max(3 * int(m["d_ff"]), attention)),
            "logits": tokens * (d + int(m["vocab_size"])),
        }

    def weight_bytes(self, m: Dims) -> int:
        """Return the bytes of all weights; token tables, output layer and norms stay in bf16."""
        return self._stored(m, self.count(m))

    def _stored(self, m: Dims, parameters: int) -> int:
        """Return the same for a count that is known: the search asks for a demand very often."""
        others = parameters - transformer.block_weights(m)
        return transformer.quantized_bytes(m, int(m["weight_bits"])) + HALF * others

    def demand(self, m: Dims, use: Use = ALONE) -> Demand:
        """Return what reading a prompt and decoding after it takes; memory is at full context."""
        return self._demands(m, use)(int(m["max_seq_len"]))

    def _demands(self, m: Dims, use: Use = ALONE) -> Callable[[int], Demand]:
        """Return the demand by the window; the search tries many, and counts the rest once.

        T tokens after P others take T times the operations of a token's weights, and those of
        T (P + T) pairs. A pass reads the cache and all weights, but of a lookup table a few rows.
        Prompts are read one after the other, in parts; the requests then decode together.
        """
        prompt, bits = self.input_length(m, use), int(m["cache_bits"])
        taken, pair = transformer.taken(m), transformer.pair_flops(m) * int(m["n_layers"])
        token, weights = taken.flops - pair, self._stored(m, taken.parameters)
        table = 0 if m["tie_embeddings"] else HALF * int(m["vocab_size"] * m["d_model"])
        held = HALF * max(self._held(m).values())
        calls, mean = -(-prompt // PROMPT), int(self.mean_length(m, use))

        def cached(tokens: int) -> int:
            return transformer.cache_bytes(m, tokens, bits)

        def decoded(past: int) -> Cost:
            flops = float(token + pair * (past + 1))
            return Cost(flops, weights - table + cached(past), cached(past)).at_once(use.batch)

        read = calls * (weights - table) + (calls - 1) * cached(prompt // 2)
        first = Cost(float(prompt * (token + pair * mean)), read, calls=calls).in_turn(use.batch)
        after = decoded(prompt)
        return lambda window: Demand(
            weights=weights,
            cache=use.batch * cached(window),
            activations=held + transformer.unpacked_bytes(m, window, use.batch),
            first=first,
            next=after,
            last=decoded(window),
            weight_bits=int(m["weight_bits"]),
            batch=use.batch,
        )

    def explained(self, m: Dims, parameters: int, use: Use = ALONE) -> dict[str, str]:
        window, inner = int(m["max_seq_len"]), transformer.block_weights(m)
        bits = 8 * transformer.quantized_bytes(m, int(m["weight_bits"])) / inner
        head = f"{m['head_dim']} x 2" if m["cache_bits"] == 16 else f"({m['head_dim']} + 2)"
        places = " and ".join(peak.words for peak in self.peaks(m))
        positions = transformer.cache_positions(m, window)
        unpacked = transformer.unpacked_bytes(m, window, use.batch)
        return {
            "weights": f"{inner:,} in the blocks at {bits:.4g} bits + "
            f"{parameters - inner:,} others at {8 * HALF} bits",
            "cache": f"2 x {m['n_kv_heads']} heads x {positions:,} positions of all layers "
            f"({levers.pattern(m)}) x {head} bytes at {window:,} tokens"
            + (f" x {use.batch} requests" if use.batch > 1 else ""),
            "activations": f"the larger of {places} of {self.input_length(m):,} tokens in bf16 + "
            f"copies of quantized numbers {unpacked:,}",
        }

    def input_length(self, m: Dims, use: Use = ALONE) -> int:
        return min(use.prompt or PROMPT, int(m["max_seq_len"]))

    def mean_length(self, m: Dims, use: Use = ALONE) -> float:
        """Return the mean context of the parts in which a prompt is read."""
        prompt = self.input_length(m, use)
        return (prompt + min(prompt, PROMPT)) / 2

    def training_length(self, m: Dims) -> int:
        """Return 1: training data is counted in tokens, as operations are."""
        return 1

    def lengths(self, full: Mapping[str, Any]) -> tuple[int, list[int]]:
        """Return a training sequence; and a prompt, and parts of the window up to all of it."""
        window = full["model"]["max_seq_len"]
        shares = [max(1, window // n) for n in (64, 8, 1)]
        return sequence(full["model"], full["data"]["seq_len"]), [min(PROMPT, window), *shares]

    def smaller(self, m: Dims) -> Iterable[dict[str, Value]]:
        return transformer.smaller(m)

    def table_flops(self, m: Dims) -> int:
        return int(2 * m["vocab_size"] * m["d_model"])

    # What published decoders look like, and the space around them.

    def levels(self, table: list[Row]) -> dict[str, float]:
        gated = [row for row in table if row["arch"] in GATED]
        odd_parts = [axes.odd_part(int(row["d_model"])) for row in table]
        return {
            "embedding_share": statistics.quantiles(map(table_share, gated), n=4)[2],
            "vocab_size": statistics.median(float(row["vocab"]) for row in gated),
            "tied": max(float(r["params_exact"]) for r in gated if r["tied_embeddings"] == "1"),
            "group": max(map(GROUPING.published, gated)),
            "context": max(float(row["context"]) for row in table),
            "odd_part": statistics.quantiles(odd_parts, n=4)[2],
        }

    def around(self, budget: int, levels: Mapping[str, float]) -> float:
        """Return the size outside the tables, which hold half of their largest usual share."""
        return budget * (1 - levels["embedding_share"] / 2)

    def fit(self, published: bytes, budget: int) -> Trend:
        """Fit each trait on the decoders that have it; depth and width get one spread.

        With one spread depth and width give way alike where a budget leaves no usual design.
        """
        trend = super().fit(published, budget)
        gated = [row for row in self.rows(published) if row["arch"] in GATED]
        size = self.around(budget, trend.levels)
        alike = ("n_layers", "d_model")
        spread = statistics.fmean(trend.lines[name].spread for name in alike)
        lines = {
            **trend.lines,
            **{name: replace(trend.lines[name], spread=spread) for name in alike},
            "expansion": self.line(self.traits["expansion"], gated, size),
            "group": self.line(GROUPING, gated, size),
        }
        return Trend(lines, trend.levels)

    def deviation(self, m: Dims, trend: Trend) -> float:
        """Return the summed squared deviation from the trend, that of the heads' width included."""
        width = math.log(m["n_heads"] * m["head_dim"] / m["d_model"]) / ATTENTION_SPREAD
        return width**2 + super().deviation(m, trend)

    def inner_step(self, m: Dims) -> int:
        return axes.granule(m["d_model"] / 2)

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        budget, outside = need.budget, self._outside(need, trend)
        depth, width, head = (
            trend.lines[name].at(outside) for name in ("n_layers", "d_model", "head_dim")
        )
        roundest = trend.levels["odd_part"]
        return (
            *self.usual(),
            levers.tying(budget, trend),
            Axis("head_dim", lambda m: axes.powers_near(head, *HEAD_DIMS), grid=True),
            Axis("n_layers", lambda m: axes.depths_near(depth, 2), grid=True),
            Axis("d_model", lambda m: _widths(m, width, roundest), grid=True),
            Axis("n_heads", lambda m: (max(1, int(m["d_model"] // m["head_dim"])),)),
            levers.grouping(outside, trend),
            levers.vocabulary(budget, trend),
            self.inner_axis(budget),
            *levers.local_attention(need, DEFAULT_CONTEXT),
            levers.WEIGHTS,
            levers.CACHE,
            Axis("max_seq_len", lambda m: (self._window(m, need, trend),)),
            Axis("rope_theta", lambda m: (transformer.rope_base(m),)),
        )

    def _outside(self, need: Need, trend: Trend) -> float:
        """Estimate the parameters outside the tables, which the trend is fitted against.

        A pinned vocabulary makes this size depend on the width, and the width depends on the size:
        a few rounds of one after the other settle both.
        """
        budget, vocabulary = need.budget, need.pins.get("vocab_size")
        size = self.around(budget, trend.levels)
        tables = 1 if need.pins.get("tie_embeddings", budget <= trend.levels["tied"]) else 2
        for _ in range(8 if vocabulary else 0):
            held = tables * (vocabulary or 0) * trend.lines["d_model"].at(size)
            size = max(budget - held, budget / 16)
        return size

    def _window(self, m: Dims, need: Need, trend: Trend) -> int:
        """Return the declared window, or the largest power of two within the limits."""
        if need.context != INFINITE:
            return int(need.context or DEFAULT_CONTEXT)
        if not need.limits:
            return int(trend.levels["context"])
        demand = self._demands({**m, "max_seq_len": CONTEXTS[-1]}, need.use)
        fitting = bisect.bisect_left(CONTEXTS, True, key=lambda n: need.excess(demand(n)) > 0)
        return int(CONTEXTS[max(0, fitting - 1)])

    # Words, the scaled-down model and its variants.

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        size, group, levels = self.size(m), m["n_heads"] / m["n_kv_heads"], trend.levels
        ungrouped = transformer.cache_bytes({**m, "n_kv_heads": m["n_heads"]}, 1)
        turns, fewer = transformer.rope_turns(m, m["rope_theta"]), self._fewer_bits(m, need)
        return {
            **super().reasons(m, need, trend),
            "n_heads": f"d_model / head_dim = {m['d_model'] / m['head_dim']:g}",
            "n_kv_heads": f"{group:g} query heads share one; the trend gives "
            f"{trend.lines['group'].at(size):.1f} and published models reach {levels['group']:g}; "
            f"a token takes {transformer.cache_bytes(m, 1):,} bytes of bf16 cache in all layers, "
            f"against {ungrouped:,} with one for each query head",
            "vocab_size": levers.vocabulary_reason(m, self.count(m), need, trend),
            "max_seq_len": self._window_reason(m, need),
            "window": "the tokens that a local layer sees, as published with such a pattern",
            "global_every": "full attention is not requested",
            "rope_theta": f"the slowest pair of dimensions makes {turns:.3f} turns over the "
            f"window, at most {transformer.ROPE_TURNS:g}",
            "tie_embeddings": f"published models of this kind tie them up to {levels['tied']:,.0f} "
            f"parameters; this budget is {need.budget:,}",
            "weight_bits": f"bf16, as trained; {fewer}",
            "cache_bits": f"bf16, as the weights; {fewer}",
        }

    def _fewer_bits(self, m: Dims, need: Need) -> str:
        if need.excess(self.demand(m, need.use)):
            return "fewer would hardly reduce what exceeds its limit"
        return "no limit requires fewer"

    def _window_reason(self, m: Dims, need: Need) -> str:
        if need.context is None:
            return f"no context_window is declared; the default is {DEFAULT_CONTEXT:,} tokens"
        if need.context != INFINITE:
            return f"context window of {need.context:,} tokens"
        if not need.limits:
            return "an infinite context is requested and no limit bounds it: the longest published"
        taken = "; ".join(
            f"{each.constraint} {each.text(self.demand(m, need.use))}" for each in need.limits
        )
        return (
            "an infinite context is requested; this is the largest power of two within the limits: "
            f"{taken}"
        )

    def proxy(self, m: Dims) -> dict[str, Value]:
        """Return a model of about half a million parameters, built like the full one.

        It keeps what is shared and how: query heads a key/value head, the width of the heads
        together relative to d_model, local layers. `proxy_dims` states what it does not keep.
        """
        small = super().proxy(m)
        width, heads = small["d_model"], small["n_heads"]
        attention = m["n_heads"] * m["head_dim"] / m["d_model"] * width
        if "global_every" in m:
            small |= {"window": PROXY_WINDOW, "global_every": small["n_layers"]}
        small |= {
            "n_kv_heads": heads // axes.divisor_near(heads, m["n_heads"] / m["n_kv_heads"]),
            "head_dim": max(2, 2 * round(attention / heads / 2)),
        }
        return {**small, "rope_theta": transformer.rope_base(small)}

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        step, wide = axes.granule(m["d_model"]), 8 / 3 * m["d_model"]
        return (
            ("one key/value head for each query head", "n_kv_heads", m["n_heads"]),
            ("one key/value head for all query heads", "n_kv_heads", 1),
            ("half of the layers global", "global_every", 2),
            ("byte vocabulary", "vocab_size", BYTE_VOCABULARY),
            ("token tables untied", "tie_embeddings", False),
            ("token tables tied", "tie_embeddings", True),
            ("feed-forward layer of 8/3 the width", "d_ff", axes.multiple(wide, step)),
            ("half the depth", "n_layers", max(1, int(m["n_layers"] // 2))),
        )

    def figures(self, m: Dims) -> Figures:
        return {
            "kv_cache": (self.demand(m).cache, "bytes"),
            "attention_pattern": (levers.pattern(m), ""),
            "queries_per_kv_head": (int(m["n_heads"] // m["n_kv_heads"]), ""),
        }


def _widths(m: Dims, centre: float, roundest: float) -> list[int]:
    """Return round widths of an even number of heads: a power of two times a small odd number."""
    step = max(2 * int(m["head_dim"]), axes.granule(centre))
    return axes.round_near(centre, step, roundest)


FAMILY = Decoder()
