"""Closed forms of CLIP: its counts, and what a pair of an image and a text asks of the hardware.

Symbols of a tower: d = width, L = blocks, f = feed-forward width, T = positions; e = embed_dim,
p = patch_size, c = in_channels, V = vocab_size.
"""

from __future__ import annotations

from dataclasses import dataclass

from metagen.families.family import Dims, Load, Work

HALF = 2  # bytes of a bf16 number
TOWERS = ("vision", "text")


@dataclass(frozen=True)
class Tower:
    """One stack of blocks and how many positions pass through it."""

    width: int
    layers: int
    d_ff: int
    positions: int

    @property
    def blocks(self) -> int:
        """Parameters of the blocks: L * (4d^2 + 2df + 9d + f), with biases and two norms each."""
        d, f = self.width, self.d_ff
        return self.layers * (4 * d * d + 2 * d * f + 9 * d + f)

    @property
    def flops(self) -> int:
        """Operations of the blocks: 2 a weight and position, and 4 T^2 d for each attention."""
        d, t = self.width, self.positions
        weights = 4 * d * d + 2 * d * self.d_ff
        return self.layers * (2 * weights * t + 4 * t * t * d)

    @property
    def widest(self) -> int:
        """Numbers that one block holds at once.

        Its input, the stream and its normalized copy, and the wider of attention (queries, keys,
        values and result) and the feed-forward layer (its inner values, scaled, and their gate).
        """
        return self.positions * (3 * self.width + max(4 * self.width, 3 * self.d_ff))


def patches(m: Dims) -> int:
    """Return the patches of an image: (image_size / patch_size)^2."""
    return int((m["image_size"] // m["patch_size"]) ** 2)


def tower(m: Dims, name: str) -> Tower:
    """Return the tower of `vision` or of `text`; an image has a class token beside its patches."""
    positions = patches(m) + 1 if name == "vision" else int(m["max_seq_len"])
    width, layers, d_ff = (int(m[f"{name}_{each}"]) for each in ("d_model", "n_layers", "d_ff"))
    return Tower(width, layers, d_ff, positions)


def embedding_counts(m: Dims) -> tuple[int, int]:
    """Return the parameters of the image's and the text's embeddings.

    Image: c*p^2*d + d + (patches + 1)*d and a norm, 2d. Text: V*d + T*d.
    """
    image, text = tower(m, "vision"), tower(m, "text")
    patch = int(m["in_channels"] * m["patch_size"] ** 2)
    return (
        (patch + 1 + image.positions + 2) * image.width,
        (int(m["vocab_size"]) + text.positions) * text.width,
    )


def count(m: Dims) -> int:
    """Return the exact count: embeddings, blocks, a last norm and a projection each, and one."""
    towers = [tower(m, name) for name in TOWERS]
    heads = sum((2 + int(m["embed_dim"])) * each.width for each in towers)
    return sum(embedding_counts(m)) + sum(each.blocks for each in towers) + heads + 1


def forward_flops(m: Dims) -> float:
    """Return the operations for one image and one text."""
    towers = [tower(m, name) for name in TOWERS]
    patch = 2 * int(m["in_channels"] * m["patch_size"] ** 2) * towers[0].width * patches(m)
    heads = sum(2 * int(m["embed_dim"]) * each.width for each in towers)
    return float(patch + heads + sum(each.flops for each in towers))


def read_bytes(m: Dims) -> int:
    """Return what a pair reads: all weights but those rows of the token table that it lacks."""
    unread = max(0, int(m["vocab_size"]) - int(m["max_seq_len"])) * int(m["text_d_model"])
    return HALF * (count(m) - unread)


def load(m: Dims) -> Load:
    """Return what telling how well one image and one text fit takes; each pair takes the same."""
    return Load(
        weights=HALF * count(m),
        cache=0,
        activations=HALF * max(tower(m, name).widest for name in TOWERS),
        first=Work(forward_flops(m), read_bytes(m)),
    )


def explained(m: Dims, parameters: int) -> dict[str, str]:
    """Return the arithmetic of weights, cache and activations."""
    held = {name: HALF * tower(m, name).widest for name in TOWERS}
    return {
        "weights": f"{parameters:,} at {8 * HALF} bits",
        "cache": "none: a pair is seen in one pass",
        "activations": f"the larger of a block of the image tower {held['vision']:,} and of the "
        f"text tower {held['text']:,}, of one pair in bf16",
    }
