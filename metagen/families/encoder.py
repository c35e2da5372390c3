"""Closed forms of a bidirectional encoder in the BERT form (arXiv:1810.04805), for its families.

Symbols: d = d_model, L = n_layers, f = d_ff, V = vocab_size, T = max_seq_len, S = n_segments,
C = outputs of the head. A family's head is a pooler and a linear layer, or nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from metagen.families.family import Dims, Load, Rule, Value, Work
from metagen.families.grid import granule

HALF = 2  # bytes of a bf16 number
DIMS: Mapping[str, type] = {
    "d_model": int,
    "n_layers": int,
    "n_heads": int,
    "d_ff": int,
    "vocab_size": int,
    "max_seq_len": int,
    "n_segments": int,
    "norm_eps": float,
    "dropout": float,
}
RULES = (
    Rule(
        ("d_model", "n_heads"),
        lambda m: m["d_model"] % m["n_heads"] == 0,
        "the heads share the width, so d_model must be a multiple of n_heads",
    ),
    Rule(
        ("dropout",),
        lambda m: m["dropout"] < 1,
        "dropout is the share of activations that training drops, so it is below 1",
    ),
)
EMBEDDING_MODULES = ("embeddings",)
COMPONENTS = frozenset(
    {"transformer_encoder", "encoder", "bidirectional_encoder", "embedding", "token_embedding"}
)
# The scaled-down model, which one thread trains in seconds on texts of a line.
PROXY = {"d_model": 64, "n_layers": 2, "n_heads": 4, "max_seq_len": 64}


def tables(m: Dims) -> int:
    """Return the parameters of the tables of tokens, positions and segments: (V + T + S) d."""
    return int((m["vocab_size"] + m["max_seq_len"] + m["n_segments"]) * m["d_model"])


def matrices(m: Dims) -> int:
    """Return the weights of the blocks' linear layers without biases: L (4dd + 2df)."""
    return int(m["n_layers"] * (4 * m["d_model"] ** 2 + 2 * m["d_model"] * m["d_ff"]))


def body(m: Dims) -> int:
    """Return the parameters outside tables and head: L (4dd + 2df + 9d + f) + 2d."""
    d = m["d_model"]
    return int(matrices(m) + m["n_layers"] * (9 * d + m["d_ff"]) + 2 * d)


def encoder_count(m: Dims) -> int:
    """Return the exact count of the encoder without a head."""
    return tables(m) + body(m)


def pooled_head(m: Dims, outputs: Value) -> int:
    """Return the parameters of pooler and linear layer: dd + d + C (d + 1)."""
    d = m["d_model"]
    return int(d * d + d + outputs * (d + 1))


def activations(m: Dims) -> int:
    """Return the bytes of what a pass over the longest text holds at its widest point, in bf16.

    The stream, its copy for the residual, and the wider of attention (queries, keys, values and
    their result) and feed-forward layer (before and after GELU).
    """
    width = 2 * m["d_model"] + max(4 * m["d_model"], 2 * m["d_ff"])
    return int(HALF * m["max_seq_len"] * width)


def load(m: Dims, parameters: int) -> Load:
    """Return what one pass over the longest text takes; rows of the token table are looked up."""
    tokens = m["max_seq_len"]
    pairs = 4 * m["n_layers"] * m["d_model"] * tokens**2
    read = HALF * (parameters - m["vocab_size"] * m["d_model"])
    return Load(
        weights=HALF * parameters,
        cache=0,
        activations=activations(m),
        first=Work(float(2 * matrices(m) * tokens + pairs), read),
    )


def explained(m: Dims, parameters: int) -> dict[str, str]:
    """Return the arithmetic of weights, cache and activations."""
    d, tokens = m["d_model"], m["max_seq_len"]
    return {
        "weights": f"{parameters:,} parameters x {HALF} bytes",
        "cache": "nothing is kept from one text to the next",
        "activations": f"{tokens:,} tokens x (2 x {d:,} + the larger of 4 x {d:,} and "
        f"2 x {m['d_ff']:,}) x {HALF} bytes",
    }


def proxy(m: Dims, vocab_size: int) -> dict[str, Value]:
    """Return a model of a few hundred thousand parameters, built like the full one.

    It keeps the width of the feed-forward layer relative to d_model. It drops no activations: it is
    not trained long enough to gain by that.
    """
    step = granule(PROXY["d_model"])
    wide = max(step, step * round(m["d_ff"] / m["d_model"] * PROXY["d_model"] / step))
    return {**m, **PROXY, "d_ff": wide, "vocab_size": vocab_size, "dropout": 0.0}


def variants(m: Dims) -> Iterable[tuple[str, dict[str, Value]]]:
    """Return single changes to heads, feed-forward layer, depth and regularization."""
    changes: tuple[tuple[str, str, Value], ...] = (
        ("one head in each layer", "n_heads", 1),
        ("feed-forward layer of 4 times the width", "d_ff", 4 * m["d_model"]),
        ("feed-forward layer of the width", "d_ff", m["d_model"]),
        ("half the depth", "n_layers", max(1, int(m["n_layers"] // 2))),
        ("a fifth of the activations dropped", "dropout", 0.2),
    )
    return [(label, {each: value}) for label, each, value in changes if m[each] != value]


def lengths(full: Mapping[str, Any]) -> tuple[int, list[int]]:
    """Return the tokens of the longest sample; and the window, and smaller parts of it."""
    window = full["model"]["max_seq_len"]
    return full["data"]["max_len"], [max(1, window // n) for n in (8, 4, 2, 1)]


def tokens(m: Dims, length: int) -> dict[str, Any]:
    """Return the shape of one text's token ids."""
    return {"shape": [1, length], "dtype": "int64"}
