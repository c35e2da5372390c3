"""Closed forms of the patch transformer: counts, bytes and operations, with their arithmetic.

Symbols: d = d_model, L = n_layers, f = d_ff, P = patch_len, N = patches, H = horizon.
"""

from __future__ import annotations

from metagen.families.family import Dims, Load, Value, Work

HALF = 2  # bytes of a bf16 number


def patches(m: Dims) -> int:
    """Return the patches of a window: (lookback - P) // stride + 1."""
    return int((m["lookback"] - m["patch_len"]) // m["stride"] + 1)


def blocks(m: Dims) -> int:
    """Return the weights of attention and feed-forward layers without biases: L(4d^2 + 2df)."""
    d = m["d_model"]
    return int(m["n_layers"] * (4 * d * d + 2 * d * m["d_ff"]))


def count(m: Dims) -> int:
    """Return (P + 1)d + Nd + L(4d^2 + 2df + 9d + f) + (Nd + 1)H, the exact count.

    These are the embedding of patches, their positions, the blocks and the head.
    """
    d, n = m["d_model"], patches(m)
    ends = (m["patch_len"] + 1) * d + n * d + (n * d + 1) * m["horizon"]
    return int(ends + blocks(m) + m["n_layers"] * (9 * d + m["d_ff"]))


def forward_flops(m: Dims) -> float:
    """Return the operations of a forecast: 2 for each weight and patch, 4d for each pair seen."""
    d, n = m["d_model"], patches(m)
    layers = 2 * n * blocks(m) + 4 * m["n_layers"] * n * n * d
    return float(2 * n * m["patch_len"] * d + layers + 2 * n * d * m["horizon"])


def activation_bytes(m: Dims) -> int:
    """Return what a forecast holds at its widest point, in bf16.

    For each patch: the stream, its normalized copy, and the wider of the feed-forward layer (before
    and after GELU) and attention (queries, keys, values and result).
    """
    return int(HALF * patches(m) * (2 * m["d_model"] + _widest(m)))


def _widest(m: Dims) -> int:
    return int(max(2 * m["d_ff"], 4 * m["d_model"]))


def load(m: Dims) -> Load:
    """Return what one forecast takes."""
    weights = HALF * count(m)
    first = Work(forward_flops(m), float(weights))
    return Load(weights, cache=0, activations=activation_bytes(m), first=first)


def explained(m: Dims, parameters: int) -> dict[str, str]:
    """Return the arithmetic of weights, cache and activations."""
    return {
        "weights": f"{parameters:,} at {8 * HALF} bits",
        "cache": "none: nothing is kept from one forecast to the next",
        "activations": f"one series in bf16: {patches(m):,} patches x (2 x {m['d_model']:,} + "
        f"{_widest(m):,})",
    }


def figures(m: Dims) -> dict[str, tuple[Value | str, str]]:
    """Return what the documents say of patches and heads."""
    seen = m["patch_len"] + (patches(m) - 1) * m["stride"]
    return {
        "patches": (patches(m), ""),
        "head_dim": (int(m["d_model"] // m["n_heads"]), ""),
        "left_out": (int(m["lookback"] - seen), "steps"),
    }
