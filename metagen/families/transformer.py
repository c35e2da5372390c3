"""Closed forms of a transformer in the Llama form: exact counts, cache and rotary embedding.

Symbols: d = d_model, L = n_layers, h = n_heads, k = n_kv_heads, s = head_dim, f = d_ff,
V = vocab_size, T = tokens.
"""

from __future__ import annotations

import math

from metagen.families.family import Dims

CACHE_BYTES = 2  # one bf16 number
# Bases of the rotary embedding in Llama 2, Llama 3 and Qwen2.5, then steps of ten.
ROPE_BASES = (1e4, 5e5, 1e6, 1e7, 1e8)
ROPE_TURNS = 1 / 8  # of the slowest pair, over the whole window


def embedding_count(m: Dims) -> int:
    """Return the parameters of the token tables: V*d, twice when they are not tied."""
    return int(m["vocab_size"] * m["d_model"] * (1 if m["tie_embeddings"] else 2))


def count(m: Dims) -> int:
    """Return V*d*(1 if tied else 2) + L*(2dhs + 2dks + 3df + 2d) + d, the exact count."""
    d, s = m["d_model"], m["head_dim"]
    attention = 2 * d * s * (m["n_heads"] + m["n_kv_heads"])
    layer = attention + 3 * d * m["d_ff"] + 2 * d
    return int(embedding_count(m) + m["n_layers"] * layer + d)


def cache_bytes(m: Dims, tokens: int) -> int:
    """Return the KV cache of one sequence: 2 (keys, values) * L * k * s * tokens * 2 bytes."""
    return int(2 * m["n_layers"] * m["n_kv_heads"] * m["head_dim"] * tokens * CACHE_BYTES)


def rope_turns(m: Dims, base: float) -> float:
    """Return the turns of the slowest pair over the window: T / (2 pi base**((s-2)/s))."""
    s = m["head_dim"]
    return float(m["max_seq_len"] / (2 * math.pi * base ** ((s - 2) / s)))


def rope_base(m: Dims) -> float:
    """Return the smallest published base that turns the slowest pair little enough."""
    fitting = (base for base in ROPE_BASES if rope_turns(m, base) <= ROPE_TURNS)
    return next(fitting, ROPE_BASES[-1])
