"""A Transformer in the Llama form: its matrices, its bytes in each format, and its rotary base.

Symbols: d = d_model, L = n_layers, h = n_heads, k = n_kv_heads, s = head_dim, f = d_ff,
V = vocab_size, T = tokens, w = window. Where a design has `global_every` = n, every n-th layer sees
the whole context and the others w tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from metagen.families import parts
from metagen.families.family import Dims, Value
from metagen.families.parts import HALF, Part

# The dimensions of a model without those of its context: a spec that pins all states a model.
SHAPE = ("d_model", "n_layers", "n_heads", "n_kv_heads", "head_dim", "d_ff", "vocab_size")

LOADED = 16  # A row of 8-bit weights is filled up to a multiple of this.
GROUP, TILE = 128, 16  # A matrix of 4-bit weights is, along its inputs and its outputs.
SCALE_BYTES = 2  # A scale is a number in bf16.
PROMPT = 512  # Tokens that pass through the model at once; a longer prompt takes more passes.
BLOCK, PAIRS = 8192, 512 * 512  # Positions of an 8-bit cache, and pairs, that are read at once.
SINGLE = 4  # Bytes of a number in float32.
PAIR_BYTES = 12  # A pair of positions has a distance of 8 bytes and four flags, in all heads.
WIDTH_STEP, LEAST_HEAD = 4, 4  # The rungs of a ladder keep these.
ROPE_BASES = (1e4, 5e5, 1e6, 1e7, 1e8)  # Llama 2, Llama 3 and Qwen2.5, then steps of ten
ROPE_TURNS = 1 / 8  # The slowest pair of dimensions makes at most so many turns over the window.


_COUNTED = (*SHAPE, "tie_embeddings")
_shape, _counted = itemgetter(*SHAPE), itemgetter(*_COUNTED)


def linears(m: Dims) -> tuple[tuple[int, int], ...]:
    """Return (outputs, inputs) of a block's linear layers: q, k, v, o, gate, up, down."""
    d, f, s = int(m["d_model"]), int(m["d_ff"]), int(m["head_dim"])
    queries, keys = int(m["n_heads"]) * s, int(m["n_kv_heads"]) * s
    return (queries, d), (keys, d), (keys, d), (d, queries), (f, d), (f, d), (d, f)


def block_weights(m: Dims) -> int:
    """Return the weights of all blocks' linear layers: L * (2dhs + 2dks + 3df)."""
    return int(m["n_layers"]) * sum(outputs * inputs for outputs, inputs in linears(m))


def pair_flops(m: Dims) -> int:
    """Return the operations of a pair of positions in one layer, its score and its sum: 4hs."""
    return 4 * int(m["n_heads"] * m["head_dim"])


def layers(m: Dims) -> list[Part]:
    """Return token table, blocks, last norm and output layer, as one token passes them.

    A block has 2dhs + 2dks + 3df weights and the gains of two norms. A tied output layer is the
    token table itself.
    """
    d = int(m["d_model"])
    matrices = sum(outputs * inputs for outputs, inputs in linears(m))
    return [
        *([] if m["tie_embeddings"] else [parts.table(m["vocab_size"], d)]),
        Part(matrices, 2 * d, pairs=pair_flops(m)) * m["n_layers"],
        Part(others=d),
        parts.linear(d, m["vocab_size"], bias=False),
    ]


class Taken(NamedTuple):
    """What a model takes whatever its formats and its context: parameters, and FLOPs a token."""

    parameters: int
    flops: int


def taken(m: Dims) -> Taken:
    """Count a model once: the search asks for it with every combination of formats."""
    return _taken(_counted(m))


@lru_cache(maxsize=2**14)
def _taken(values: tuple[Value, ...]) -> Taken:
    made = layers(dict(zip(_COUNTED, values, strict=True)))
    return Taken(parts.count(made), int(parts.flops(made)))


def embedding_count(m: Dims) -> int:
    """Return the parameters of the token tables: Vd, twice where they are not tied."""
    return int(m["vocab_size"] * m["d_model"] * (1 if m["tie_embeddings"] else 2))


def matrix_bytes(outputs: int, inputs: int, bits: int) -> int:
    """Return the bytes of a matrix in a format of templates/layers/quantized.py.

    At 8 bits a row has a bf16 scale. At 4 bits each 128 inputs of a row have a step and a zero, so
    a weight takes 4.25 bits. Kernels read multiples of 16 and 128 weights, filled with zeros.
    """
    if bits == 16:
        return HALF * outputs * inputs
    if bits == 8:
        return outputs * (_filled(inputs, LOADED) + SCALE_BYTES)
    return _filled(outputs, TILE) * (-(-inputs // GROUP) * (GROUP // 2 + 2 * SCALE_BYTES))


def _filled(number: int, step: int) -> int:
    return -(-number // step) * step


def quantized_bytes(m: Dims, bits: int) -> int:
    """Return the bytes of all blocks' linear layers in a format."""
    return _quantized_bytes(_shape(m), bits)


@lru_cache(maxsize=2**12)
def _quantized_bytes(shape: tuple[Value, ...], bits: int) -> int:
    m = dict(zip(SHAPE, shape, strict=True))
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


def unpacked_bytes(m: Dims, window: int, batch: int = 1) -> int:
    """Return the bytes of copies that are made while quantized numbers are used.

    At 8 bits, a GPU without a compiled product unpacks one matrix at a time to bf16. Of an 8-bit
    cache one block of one layer is unpacked to float32, and scored by all queries of a pass.
    """
    matrix = HALF * m["d_model"] * m["d_ff"] if m["weight_bits"] == 8 else 0
    cache = max(_block_bytes(m, window, tokens) for tokens in (1, min(PROMPT, window)))
    return int(matrix + (batch * cache if m["cache_bits"] < 16 else 0))


def _block_bytes(m: Dims, window: int, queries: int) -> int:
    """Return what reading a block of an 8-bit cache takes: its numbers, and the scores of pairs."""
    keys = min(window, BLOCK, PAIRS // queries)
    unpacked = 2 * SINGLE * m["n_kv_heads"] * m["head_dim"]
    return int(keys * (unpacked + queries * (SINGLE * m["n_heads"] + PAIR_BYTES)))


def smaller(m: Dims) -> Iterator[dict[str, Value]]:
    """Yield narrower models of the same shape: depth as width, at least two layers.

    Heads and their size both fall like the root of the width. Query heads still share keys and
    values in groups of the same number.
    """
    group = int(m["n_heads"] // m["n_kv_heads"])
    for width in range(WIDTH_STEP, int(m["d_model"]), WIDTH_STEP):
        share = width / m["d_model"]
        heads = group * max(1, round(m["n_heads"] * math.sqrt(share) / group))
        size = 2 * round(m["n_heads"] * m["head_dim"] * share / heads / 2)
        if size >= LEAST_HEAD:
            yield {
                **m,
                "d_model": width,
                "n_layers": max(2, round(m["n_layers"] * share)),
                "n_heads": heads,
                "n_kv_heads": heads // group,
                "head_dim": size,
                "d_ff": max(WIDTH_STEP, round(m["d_ff"] * share / WIDTH_STEP) * WIDTH_STEP),
            }


def rope_turns(m: Dims, base: float) -> float:
    """Return the turns of the slowest pair over the window: T / (2 pi base**((s-2)/s))."""
    s = m["head_dim"]
    return float(m["max_seq_len"] / (2 * math.pi * base ** ((s - 2) / s)))


def rope_base(m: Dims) -> float:
    """Return the smallest published base whose slowest pair turns at most `ROPE_TURNS`."""
    fitting = (base for base in ROPE_BASES if rope_turns(m, base) <= ROPE_TURNS)
    return next(fitting, ROPE_BASES[-1])
