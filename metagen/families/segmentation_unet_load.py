"""Closed forms of a U-Net: its convolutions, and what they count, compute and hold.

Symbols: w = channels of a level, H x W = pixels of the image. Level l has H * W / 4**l pixels.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from metagen.families.family import Dims, Load, Work

HALF = 2  # bytes of a bf16 number
INDEX = 8  # bytes of the number of a class, as argmax gives it


@dataclass(frozen=True)
class Convolution:
    """One convolution with a bias.

    Attributes:
        inputs: Channels that it reads.
        outputs: Channels that it writes.
        size: Numbers in a kernel for a pair of channels: 9, 4 or 1.
        taps: How many of them an output pixel uses: 9, or 1 where nothing overlaps.
        read: Level of the pixels that it reads.
        written: Level of the pixels that it writes.
    """

    inputs: int
    outputs: int
    size: int
    taps: int
    read: int
    written: int

    @property
    def weights(self) -> int:
        """Parameters: a kernel for each pair of channels, and a bias for each output."""
        return self.inputs * self.outputs * self.size + self.outputs


def widths(m: Dims) -> list[int]:
    """Return the channels of each level, from the finest: doubled up to `max_channels`."""
    levels = range(int(m["n_levels"]))
    return [min(int(m["base_channels"]) * 2**level, int(m["max_channels"])) for level in levels]


def convolutions(m: Dims) -> Iterator[Convolution]:
    """Yield every convolution, in the order in which they run."""
    w = widths(m)
    inside = [int(m["in_channels"]), *w]
    for level, (before, now) in enumerate(itertools.pairwise(inside)):
        yield Convolution(before, now, 9, 9, level, level)
        yield Convolution(now, now, 9, 9, level, level)
    for level in reversed(range(len(w) - 1)):
        yield Convolution(w[level + 1], w[level], 4, 1, level + 1, level)
        yield Convolution(2 * w[level], w[level], 9, 9, level, level)
        yield Convolution(w[level], w[level], 9, 9, level, level)
    yield Convolution(w[0], int(m["num_classes"]), 1, 1, 0, 0)


def count(m: Dims) -> int:
    """Return the exact count: inputs * outputs * kernel + outputs, over all convolutions."""
    return sum(each.weights for each in convolutions(m))


def pixels(m: Dims, level: int) -> int:
    """Return the pixels of a level."""
    return int(m["image_height"] * m["image_width"]) >> (2 * level)


def forward_flops(m: Dims) -> float:
    """Return the operations for one image: 2 * inputs * outputs * taps for each output pixel."""
    return float(
        sum(2 * c.inputs * c.outputs * c.taps * pixels(m, c.written) for c in convolutions(m))
    )


def feature_bytes(m: Dims) -> int:
    """Return the bytes of features that all convolutions read, in bf16."""
    return sum(HALF * c.inputs * pixels(m, c.read) for c in convolutions(m))


def activation_parts(m: Dims) -> dict[str, int]:
    """Return the bytes of what one image holds at once, at its widest points, in bf16.

    On the finest level of the way up: the features beside (w), those joined (2w), a convolution's
    result and its rectified copy (w each), and the coarser features that came up. At the end: the
    features, the logits, and the number of the likeliest class.
    """
    w, area, coarser = widths(m), pixels(m, 0), pixels(m, 1)
    return {
        "finest level": HALF * (5 * w[0] * area + w[1] * coarser),
        "classes": HALF * (w[0] + int(m["num_classes"])) * area + INDEX * area,
    }


def load(m: Dims) -> Load:
    """Return what segmenting one image takes; every image takes the same."""
    weights = HALF * count(m)
    return Load(
        weights=weights,
        cache=0,
        activations=max(activation_parts(m).values()),
        first=Work(forward_flops(m), weights + feature_bytes(m)),
    )


def explained(m: Dims, parameters: int) -> dict[str, str]:
    """Return the arithmetic of weights, cache and activations."""
    parts, w = activation_parts(m), widths(m)
    return {
        "weights": f"{parameters:,} at {8 * HALF} bits",
        "cache": "none: an image is seen in one pass",
        "activations": f"the larger of finest level {parts['finest level']:,}, 5 x {w[0]} channels "
        f"and the coarser ones, and classes {parts['classes']:,}, of one image of "
        f"{m['image_height']} x {m['image_width']} pixels in bf16",
    }
