"""Closed forms of a Vision Transformer: counts, bytes and operations, with their arithmetic.

Symbols: d = d_model, L = n_layers, f = d_ff, p = patch_size, C = num_channels, K = num_classes,
N = patches, and N + 1 = T positions with the class token's.
"""

from __future__ import annotations

from metagen.families.family import Dims, Load, Value, Work

HALF = 2  # bytes of a bf16 number


def patches(m: Dims) -> int:
    """Return the patches of an image: height / p * width / p."""
    return int(m["image_height"] // m["patch_size"] * (m["image_width"] // m["patch_size"]))


def count(m: Dims) -> int:
    """Return (Cp^2 + 1)d + d + Td + L(4d^2 + 2df + 9d + f) + 2d + (d + 1)K, the exact count.

    These are patches, class token, positions, blocks, last norm and classifier.
    """
    d, f = m["d_model"], m["d_ff"]
    patch = m["num_channels"] * m["patch_size"] ** 2
    ends = (patch + 1) * d + d + (patches(m) + 1) * d + 2 * d + (d + 1) * m["num_classes"]
    return int(ends + m["n_layers"] * (4 * d * d + 2 * d * f + 9 * d + f))


def forward_flops(m: Dims) -> float:
    """Return the operations of a pass: 2 for each weight and position, 4d for each pair seen."""
    d, n = m["d_model"], patches(m)
    patch = 2 * n * m["num_channels"] * m["patch_size"] ** 2 * d
    layer = 2 * (n + 1) * (4 * d * d + 2 * d * m["d_ff"]) + 4 * (n + 1) ** 2 * d
    return float(patch + m["n_layers"] * layer + 2 * d * m["num_classes"])


def activation_bytes(m: Dims) -> int:
    """Return what a pass over one image holds at its widest point, in bf16.

    The stream and its normalized copy, and the wider of the feed-forward layer (before and after
    GELU) and attention (queries, keys, values and result), for each position; and the image.
    """
    d, image = m["d_model"], m["num_channels"] * m["image_height"] * m["image_width"]
    return int(HALF * ((patches(m) + 1) * (2 * d + max(2 * m["d_ff"], 4 * d)) + image))


def load(m: Dims) -> Load:
    """Return what labelling one image takes."""
    weights = HALF * count(m)
    first = Work(forward_flops(m), float(weights))
    return Load(weights, cache=0, activations=activation_bytes(m), first=first)


def explained(m: Dims, parameters: int) -> dict[str, str]:
    """Return the arithmetic of weights, cache and activations."""
    widest = max(2 * m["d_ff"], 4 * m["d_model"])
    return {
        "weights": f"{parameters:,} at {8 * HALF} bits",
        "cache": "none: nothing is kept from one image to the next",
        "activations": f"one image in bf16: {patches(m) + 1:,} positions x (2 x {m['d_model']:,} "
        f"+ {widest:,}) + {m['num_channels']} x {m['image_height']} x {m['image_width']} pixels",
    }


def figures(m: Dims) -> dict[str, tuple[Value | str, str]]:
    """Return what the documents say of patches and heads."""
    return {
        "patches": (patches(m), ""),
        "positions": (patches(m) + 1, ""),
        "head_dim": (int(m["d_model"] // m["n_heads"]), ""),
    }
