"""The bidirectional Transformer encoder in the BERT form (arXiv:1810.04805), which families share.

A family adds a head: a pooler and a linear layer, or nothing. Symbols: d = d_model, L = n_layers,
f = d_ff, V = vocab_size, T = max_seq_len, S = n_segments.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from metagen.families import axes, parts
from metagen.families.axes import Axis, Rule
from metagen.families.blocks import Blocks, block_peak
from metagen.families.demand import Need
from metagen.families.family import Dims, Figures, Peak, Value
from metagen.families.parts import HALF, Part
from metagen.families.trend import Row, Trend, table_share
from metagen.units import INFINITE

DEFAULT_CONTEXT = 512  # tokens; the window of BERT


class Encoder(Blocks):
    """Tables of tokens, positions and segments; post-norm blocks; a head on their vectors."""

    table = "encoder"
    arithmetic = "text"
    components = "transformer_encoder encoder bidirectional_encoder embedding token_embedding"
    rules = (
        axes.divides("n_heads", "d_model", "the heads share the width"),
        Rule(
            ("dropout",),
            lambda m: m["dropout"] < 1,
            "dropout is the share of activations that training drops, so it is below 1",
        ),
    )
    constants = {
        "n_segments": (2, "as BERT: one for each text of a pair"),
        "norm_eps": (1e-12, "the value of BERT"),
        "dropout": (0.1, "the share of BERT's pre-training and fine-tuning"),
    }
    context_dim = "max_seq_len"
    embedding_modules = ("embeddings",)
    size_column = "params_non_embedding"
    size_unit = "parameters outside the tables"
    # The proxy has a few hundred thousand parameters. It drops no activations: it is not trained
    # long enough to gain by that.
    proxy_dims = {"d_model": 64, "n_layers": 2, "n_heads": 4, "dropout": 0.0}

    def head(self, m: Dims) -> list[Part]:
        """Return what follows the encoder."""
        return []

    def parts(self, m: Dims) -> list[Part]:
        """Return tables with their norm, blocks and head: (V + T + S) d + 2d + L (4dd + ...)."""
        d, tokens = m["d_model"], m["max_seq_len"]
        return [
            parts.table(m["vocab_size"] + tokens + m["n_segments"], d),
            parts.norm(d),
            parts.encoder_block(d, m["d_ff"], tokens) * m["n_layers"],
            *self.head(m),
        ]

    def peaks(self, m: Dims) -> list[Peak]:
        return [block_peak(m, int(m["max_seq_len"]), "tokens")]

    def size(self, m: Dims) -> int:
        """Return the parameters of the blocks and of the norm before them."""
        blocks = parts.encoder_block(m["d_model"], m["d_ff"], 1) * m["n_layers"]
        return parts.count([parts.norm(m["d_model"]), blocks])

    def bytes_read(self, m: Dims) -> float:
        """Return the bytes of all weights but the token table, of which a pass reads some rows."""
        return float(self.weight_bytes(m) - HALF * m["vocab_size"] * m["d_model"])

    def levels(self, table: list[Row]) -> dict[str, float]:
        return {
            "table_share": statistics.median(map(table_share, table)),
            "vocab_size": statistics.median(int(row["vocab"]) for row in table),
            "head_dim": statistics.median(int(row["head_dim"]) for row in table),
            "context": max(float(row["context"]) for row in table),
            "odd_part": max(axes.odd_part(int(row["d_model"])) for row in table),
        }

    def around(self, budget: int, levels: Mapping[str, float]) -> float:
        """Return the parameters that published models of this budget have outside the tables."""
        return budget * (1 - levels["table_share"])

    def inner_step(self, m: Dims) -> int:
        return axes.granule(m["d_model"] / 2)

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        size = self._outside(need, trend)
        depth, width = (trend.lines[name].at(size) for name in ("n_layers", "d_model"))
        widths = axes.round_near(width, axes.granule(width), trend.levels["odd_part"])
        head = trend.levels["head_dim"]
        return (
            *self.usual(),
            Axis("n_layers", lambda m: axes.near(depth, 1), grid=True),
            Axis("d_model", lambda m: widths, grid=True),
            Axis("n_heads", lambda m: (axes.divisor_near(m["d_model"], m["d_model"] / head),)),
            Axis("vocab_size", lambda m: (axes.table_entries(*_table(m, need, trend)),)),
            Axis("max_seq_len", lambda m: (_window(need),)),
            self.inner_axis(need.budget),
        )

    def _outside(self, need: Need, trend: Trend) -> float:
        """Estimate the parameters outside the tables, which the trend is fitted against.

        The width depends on this size, and the size on the width of the tables: a few rounds of
        one after the other settle both.
        """
        budget = need.budget
        size = self.around(budget, trend.levels)
        entries = need.pins.get("vocab_size", trend.levels["vocab_size"])
        for _ in range(8):
            width = need.pins.get("d_model", trend.lines["d_model"].at(size))
            size = max(budget - entries * width, budget / 16)
        return size

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        tables = (m["vocab_size"] + m["max_seq_len"] + m["n_segments"]) * m["d_model"]
        return {
            **super().reasons(m, need, trend),
            "n_heads": f"heads of {m['d_model'] / m['n_heads']:g} dimensions; published encoders "
            f"have {trend.levels['head_dim']:g}",
            "vocab_size": f"{axes.table_reason(int(m['vocab_size']), *_table(m, need, trend))}; "
            f"the tables hold {tables / (tables + self.size(m)):.1%} of the encoder's parameters",
            "max_seq_len": _window_reason(need),
        }

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        return (
            ("one head in each layer", "n_heads", 1),
            ("feed-forward layer of 4 times the width", "d_ff", 4 * m["d_model"]),
            ("feed-forward layer of the width", "d_ff", m["d_model"]),
            ("half the depth", "n_layers", max(1, int(m["n_layers"] // 2))),
            ("a fifth of the activations dropped", "dropout", 0.2),
        )

    def lengths(self, full: Mapping[str, Any]) -> tuple[int, list[int]]:
        """Return the tokens of the longest sample; and the window, and smaller parts of it."""
        window = full["model"]["max_seq_len"]
        return full["data"]["max_len"], [max(1, window // n) for n in (8, 4, 2, 1)]

    def figures(self, m: Dims) -> Figures:
        return {"head_dim": (int(m["d_model"] // m["n_heads"]), "")}


def pooled(m: Dims, outputs: Value) -> list[Part]:
    """Return a pooler and a linear layer: dd + d + outputs (d + 1) parameters.

    They see one token of a text, so that their operations are too few to count.
    """
    d = m["d_model"]
    return [Part(others=int(d * d + d)), Part(others=int(outputs * (d + 1)))]


def _table(m: Dims, need: Need, trend: Trend) -> tuple[int, int, int]:
    """Return the published vocabulary, the width of a token and the count to fill."""
    return int(trend.levels["vocab_size"]), int(m["d_model"]), need.budget


def _window(need: Need) -> int:
    return DEFAULT_CONTEXT if need.context in (None, INFINITE) else int(need.context or 0)


def _window_reason(need: Need) -> str:
    if need.context is None:
        return f"no context_window is declared; the default is {DEFAULT_CONTEXT:,} tokens, as BERT"
    if need.context == INFINITE:
        return "an infinite context is requested; each position has a row of a table, as in BERT"
    return f"context window of {need.context:,} tokens"
