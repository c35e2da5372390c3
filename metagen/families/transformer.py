"""Closed forms of a transformer in the Llama form: counts, bytes, operations, rotary embedding.

Symbols: d = d_model, L = n_layers, h = n_heads, k = n_kv_heads, s = head_dim, f = d_ff,
V = vocab_size, T = tokens, w = window. A design with `global_every` is local but for every so many
layers; a design without it sees the whole context in every layer.
"""

from __future__ import annotations

import math

from metagen.families.family import Dims

GROUP = 64  # weights along the input that share a scale
SCALE_BYTES = 2  # a scale is bf16
HALF = 2  # bytes of a bf16 number
# Bases of the rotary embedding in Llama 2, Llama 3 and Qwen2.5, then steps of ten.
ROPE_BASES = (1e4, 5e5, 1e6, 1e7, 1e8)
ROPE_TURNS = 1 / 8  # of the slowest pair, over the whole window


def embedding_count(m: Dims) -> int:
    """Return the parameters of the token tables: V*d, twice when they are not tied."""
    return int(m["vocab_size"] * m["d_model"] * (1 if m["tie_embeddings"] else 2))


def count(m: Dims) -> int:
    """Return V*d*(1 if tied else 2) + L*(2dhs + 2dks + 3df + 2d) + d, the exact count."""
    norms = 2 * m["d_model"]
    return int(embedding_count(m) + block_weights(m) + m["n_layers"] * norms + m["d_model"])


def block_weights(m: Dims) -> int:
    """Return the weights of the blocks' linear layers: L * (2dhs + 2dks + 3df)."""
    d, s = m["d_model"], m["head_dim"]
    layer = 2 * d * s * (m["n_heads"] + m["n_kv_heads"]) + 3 * d * m["d_ff"]
    return int(m["n_layers"] * layer)


def _linears(m: Dims) -> tuple[tuple[int, int], ...]:
    """Return (outputs, inputs) of a block's linear layers: q, k and v, o, gate and up, down."""
    d, f, s = int(m["d_model"]), int(m["d_ff"]), int(m["head_dim"])
    queries, keys = int(m["n_heads"]) * s, int(m["n_kv_heads"]) * s
    return (queries + 2 * keys, d), (d, queries), (2 * f, d), (d, f)


def quantized_bytes(m: Dims, bits: int) -> int:
    """Return the bytes of the blocks' linear layers at a format.

    Below 16 bits a row of n weights takes ceil(n * bits / 8) bytes and a bf16 scale for each
    started group of 64: 8.25 bits a weight at 8, 4.25 at 4 where n is a multiple of 64.
    """
    if bits == 16:
        return HALF * block_weights(m)
    rows = ((out, -(-n * bits // 8) + SCALE_BYTES * -(-n // GROUP)) for out, n in _linears(m))
    return int(m["n_layers"]) * sum(out * size for out, size in rows)


def weight_bytes(m: Dims, bits: int) -> int:
    """Return the bytes of all weights; token tables, output layer and norms stay bf16."""
    return quantized_bytes(m, bits) + HALF * (count(m) - block_weights(m))


def global_layers(m: Dims) -> int:
    """Return the layers that see the whole context: layer i where (i + 1) % global_every is 0."""
    return int(m["n_layers"] // m.get("global_every", 1))


def cache_positions(m: Dims, tokens: int) -> int:
    """Return the positions that all layers' caches hold: T in a global layer, w in a local one."""
    everywhere, window = global_layers(m), int(m.get("window", tokens))
    return everywhere * tokens + (int(m["n_layers"]) - everywhere) * min(window, tokens)


def cache_bytes(m: Dims, tokens: int, bits: int = 16) -> int:
    """Return the KV cache of one sequence: 2 (keys, values) * k * positions * bytes of a head.

    A head takes 2s bytes at 16 bits, and s bytes with a bf16 scale, s + 2, at 8.
    """
    head = m["head_dim"] * HALF if bits == 16 else m["head_dim"] + SCALE_BYTES
    return int(2 * m["n_kv_heads"] * cache_positions(m, tokens) * head)


def read_bytes(m: Dims, weight_bits: int, cache_bits: int, tokens: int) -> int:
    """Return what a decoded token reads after so many: weights and cache, one row of the table."""
    table = 0 if m["tie_embeddings"] else HALF * int(m["vocab_size"] * m["d_model"])
    return weight_bytes(m, weight_bits) - table + cache_bytes(m, tokens, cache_bits)


def activation_parts(m: Dims, chunk: int, tokens: int) -> dict[str, int]:
    """Return the bytes of what a pass over a chunk holds at once, at its widest points.

    The stream and the wider of feed-forward layer (gate, up and their product) and attention
    (queries, keys, values and result), or the logits; in bf16, each for every token of the chunk.
    """
    d, f, s = m["d_model"], m["d_ff"], m["head_dim"]
    attention = 2 * (m["n_heads"] + m["n_kv_heads"]) * s
    return {
        "block": int(HALF * chunk * (2 * d + max(3 * f, attention))),
        "logits": int(HALF * chunk * (d + m["vocab_size"])),
    }


def unpacked_bytes(m: Dims, weight_bits: int, cache_bits: int, tokens: int) -> int:
    """Return the bf16 copies made while quantized numbers are used.

    Three of the largest matrix (its numbers, its scales spread out, their product), and two of one
    layer's keys and values (their numbers, and these times their scales).
    """
    matrix = 3 * HALF * m["d_model"] * m["d_ff"] if weight_bits < 16 else 0
    layer = 2 * 2 * HALF * m["n_kv_heads"] * m["head_dim"] * tokens if cache_bits < 16 else 0
    return int(matrix + layer)


def forward_flops(m: Dims, tokens: int, past: int) -> float:
    """Return the operations of a pass: 2 for each weight and token, and 4hs for each pair seen."""
    weights = block_weights(m) + m["vocab_size"] * m["d_model"]
    pairs = tokens * (past + tokens)
    return float(2 * weights * tokens + 4 * m["n_layers"] * m["n_heads"] * m["head_dim"] * pairs)


def rope_turns(m: Dims, base: float) -> float:
    """Return the turns of the slowest pair over the window: T / (2 pi base**((s-2)/s))."""
    s = m["head_dim"]
    return float(m["max_seq_len"] / (2 * math.pi * base ** ((s - 2) / s)))


def rope_base(m: Dims) -> float:
    """Return the smallest published base that turns the slowest pair little enough."""
    fitting = (base for base in ROPE_BASES if rope_turns(m, base) <= ROPE_TURNS)
    return next(fitting, ROPE_BASES[-1])
