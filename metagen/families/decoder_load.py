"""What a decoder asks of the hardware that runs it: bytes and operations, with their arithmetic."""

from __future__ import annotations

from metagen.families import levers
from metagen.families.family import Dims, Load, Value, Work
from metagen.families.transformer import (
    HALF,
    activation_parts,
    block_weights,
    cache_bytes,
    cache_positions,
    forward_flops,
    quantized_bytes,
    read_bytes,
    unpacked_bytes,
    weight_bytes,
)

PROMPT = 512  # tokens; a longer prompt is read in as many passes as it takes


def context(m: Dims) -> int | None:
    """Return the context window in tokens."""
    return int(m["max_seq_len"])


def load(m: Dims) -> Load:
    """Return what reading a prompt and decoding after it takes; memory is at the full context."""
    tokens, bits, cached = int(m["max_seq_len"]), int(m["weight_bits"]), int(m["cache_bits"])
    chunk = min(PROMPT, tokens)
    widest = max(activation_parts(m, chunk, tokens).values())
    return Load(
        weights=weight_bytes(m, bits),
        cache=cache_bytes(m, tokens, cached),
        activations=widest + unpacked_bytes(m, bits, cached, tokens),
        first=Work(forward_flops(m, chunk, 0), read_bytes(m, bits, cached, 0)),
        next=Work(forward_flops(m, 1, chunk), read_bytes(m, bits, cached, chunk)),
        last=Work(forward_flops(m, 1, tokens), read_bytes(m, bits, cached, tokens)),
        weight_bits=bits,
    )


def explained(m: Dims, parameters: int) -> dict[str, str]:
    """Return the arithmetic of weights, cache and activations."""
    tokens, bits, cached = int(m["max_seq_len"]), int(m["weight_bits"]), int(m["cache_bits"])
    inner, chunk = block_weights(m), min(PROMPT, tokens)
    parts = activation_parts(m, chunk, tokens)
    head = f"{m['head_dim']} x 2" if cached == 16 else f"({m['head_dim']} + 2)"
    blocks = f"{inner:,} in the blocks at {8 * quantized_bytes(m, bits) / inner:g} bits"
    unpacked = unpacked_bytes(m, bits, cached, tokens)
    return {
        "weights": f"{blocks} + {parameters - inner:,} others at {8 * HALF} bits",
        "cache": f"2 x {m['n_kv_heads']} heads x {cache_positions(m, tokens):,} positions of all "
        f"layers ({levers.pattern(m)}) x {head} bytes at {tokens:,} tokens",
        "activations": f"the larger of block {parts['block']:,} and logits {parts['logits']:,} of "
        f"{chunk:,} tokens in bf16 + bf16 copies of quantized numbers {unpacked:,}",
    }


def input_length(m: Dims) -> int:
    """Return the tokens of a prompt that is read before the first output."""
    return min(PROMPT, int(m["max_seq_len"]))


def training_length(m: Dims) -> int:
    """Return 1: training data is counted in tokens, as operations are."""
    return 1


def figures(m: Dims) -> dict[str, tuple[Value | str, str]]:
    """Return what the decoder's documents say of its cache and its attention."""
    return {
        "kv_cache": (load(m).cache, "bytes"),
        "attention_pattern": (levers.pattern(m), ""),
        "queries_per_kv_head": (int(m["n_heads"] // m["n_kv_heads"]), ""),
    }
