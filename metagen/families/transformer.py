"""A Transformer in the Llama form: its matrices, its bytes in each format, and its rotary base.

Symbols: d = d_model, L = n_layers, h = n_heads, k = n_kv_heads, s = head_dim, f = d_ff,
V = vocab_size, T = tokens, w = window. Where a design has `global_every` = n, every n-th layer sees
the whole context and the others w tokens.
"""

from __future__ import annotations

import math

from metagen.families.family import Dims
from metagen.families.parts import HALF

GROUP = 64  # Weights along the input that share a scale.
SCALE_BYTES = 2  # A scale is a number in bf16.
ROPE_BASES = (1e4, 5e5, 1e6, 1e7, 1e8)  # Llama 2, Llama 3 and Qwen2.5, then steps of ten
ROPE_TURNS = 1 / 8  # The slowest pair of dimensions makes at most so many turns over the window.


def linears(m: Dims) -> tuple[tuple[int, int], ...]:
    """Return (outputs, inputs) of a block's linear layers: q, k and v, o, gate and up, down."""
    d, f, s = int(m["d_model"]), int(m["d_ff"]), int(m["head_dim"])
    queries, keys = int(m["n_heads"]) * s, int(m["n_kv_heads"]) * s
    return (queries + 2 * keys, d), (d, queries), (2 * f, d), (d, f)


def block_weights(m: Dims) -> int:
    """Return the weights of all blocks' linear layers: L * (2dhs + 2dks + 3df)."""
    return int(m["n_layers"]) * sum(outputs * inputs for outputs, inputs in linears(m))


def pair_flops(m: Dims) -> int:
    """Return the operations of a pair of positions in one layer, its score and its sum: 4hs."""
    return 4 * int(m["n_heads"] * m["head_dim"])


def embedding_count(m: Dims) -> int:
    """Return the parameters of the token tables: Vd, twice where they are not tied."""
    return int(m["vocab_size"] * m["d_model"] * (1 if m["tie_embeddings"] else 2))


def matrix_bytes(outputs: int, inputs: int, bits: int) -> int:
    """Return the bytes of a matrix in a format.

    Below 16 bits a row of n weights takes ceil(n * bits / 8) bytes and a bf16 scale for each
    started group of 64: 8.25 bits a weight at 8, 4.25 at 4 where n is a multiple of 64.
    """
    if bits == 16:
        return HALF * outputs * inputs
    return outputs * (-(-inputs * bits // 8) + SCALE_BYTES * -(-inputs // GROUP))


def quantized_bytes(m: Dims, bits: int) -> int:
    """Return the bytes of all blocks' linear layers in a format."""
    return int(m["n_layers"]) * sum(matrix_bytes(o, i, bits) for o, i in linears(m))


def cache_positions(m: Dims, tokens: int) -> int:
    """Return the positions that all layers' caches hold: T in a global layer, w in a local one.

    Layer i is global where (i + 1) % global_every is 0; without `global_every` every layer is.
    """
    layers, window = int(m["n_layers"]), int(m.get("window", tokens))
    everywhere = layers // int(m.get("global_every", 1))
    return everywhere * tokens + (layers - everywhere) * min(window, tokens)


def cache_bytes(m: Dims, tokens: int, bits: int = 16) -> int:
    """Return the KV cache of one sequence: 2 (keys, values) * k * positions * bytes of a head.

    A head takes 2s bytes at 16 bits, and s bytes with a bf16 scale, s + 2, at 8.
    """
    head = m["head_dim"] * HALF if bits == 16 else m["head_dim"] + SCALE_BYTES
    return int(2 * m["n_kv_heads"] * cache_positions(m, tokens) * head)


def unpacked_bytes(m: Dims, window: int) -> int:
    """Return the bf16 copies made while quantized numbers are used, with a full window.

    Three of the largest matrix (its numbers, its scales spread out, their product), and two of one
    layer's keys and values (their numbers, and these times their scales).
    """
    matrix = 3 * HALF * m["d_model"] * m["d_ff"] if m["weight_bits"] < 16 else 0
    layer = 2 * 2 * HALF * m["n_kv_heads"] * m["head_dim"] * window
    return int(matrix + (layer if m["cache_bits"] < 16 else 0))


def rope_turns(m: Dims, base: float) -> float:
    """Return the turns of the slowest pair over the window: T / (2 pi base**((s-2)/s))."""
    s = m["head_dim"]
    return float(m["max_seq_len"] / (2 * math.pi * base ** ((s - 2) / s)))


def rope_base(m: Dims) -> float:
    """Return the smallest published base whose slowest pair turns at most `ROPE_TURNS`."""
    fitting = (base for base in ROPE_BASES if rope_turns(m, base) <= ROPE_TURNS)
    return next(fitting, ROPE_BASES[-1])
