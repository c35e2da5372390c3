"""Closed forms of a bottleneck residual network: counts, bytes and operations.

Symbols: w = width, m = w * 2^(s - 1) channels within stage s, i and o = 4m its blocks' inputs and
outputs, C = num_channels, K = num_classes. Every convolution has no bias and a batch normalization
with two parameters a channel.
"""

from __future__ import annotations

from collections.abc import Iterator

from metagen.families.family import Dims, Load, Value, Work

HALF = 2  # bytes of a bf16 number
STAGES = (1, 2, 3, 4)
EXPANSION = 4  # of a block's output against its inner channels
KERNEL = 7  # pixels of the stem's

Convolution = tuple[int, int, int, int]


def depths(m: Dims) -> tuple[int, ...]:
    """Return the blocks of each stage."""
    return tuple(int(m[f"depth_{stage}"]) for stage in STAGES)


def stages(m: Dims) -> Iterator[tuple[int, int, int]]:
    """Yield (channels within the blocks, their outputs, blocks) of each stage."""
    for stage, depth in zip(STAGES, depths(m), strict=True):
        inner = int(m["width"]) * 2 ** (stage - 1)
        yield inner, EXPANSION * inner, depth


def convolutions(m: Dims) -> Iterator[Convolution]:
    """Yield (inputs, outputs, kernel, places of the output) of each convolution, in order."""
    height, width, inputs = _halved(m["image_height"]), _halved(m["image_width"]), int(m["width"])
    yield int(m["num_channels"]), inputs, KERNEL, height * width
    height, width = _halved(height), _halved(width)  # by pooling
    for stage, (inner, outputs, depth) in zip(STAGES, stages(m), strict=True):
        for block in range(depth):
            yield inputs, inner, 1, height * width
            if stage > 1 and block == 0:
                height, width = _halved(height), _halved(width)
            yield inner, inner, 3, height * width
            yield inner, outputs, 1, height * width
            if block == 0:
                yield inputs, outputs, 1, height * width
            inputs = outputs


def _halved(side: Value) -> int:
    return -(-int(side) // 2)


def count(m: Dims) -> int:
    """Return stem + the stages' blocks + (32w + 1)K, the exact count.

    A block holds i m + 9 m^2 + m o weights in its kernels and 2 (m + m + o) parameters of
    normalization; the first one of a stage i o + 2 o more, for its shortcut.
    """
    inputs = int(m["width"])
    found = (m["num_channels"] * KERNEL**2 + 2) * inputs
    for inner, outputs, depth in stages(m):
        own = 9 * inner**2 + inner * outputs + 4 * inner + 2 * outputs
        found += inputs * (inner + outputs) + 2 * outputs
        found += (depth - 1) * outputs * inner + depth * own
        inputs = outputs
    return int(found + (inputs + 1) * m["num_classes"])


def statistics(m: Dims) -> int:
    """Return the running means and variances, two a channel of each convolution."""
    inner_and_outer = sum(d * (2 * i + o) + o for i, o, d in stages(m))
    return int(2 * (m["width"] + inner_and_outer))


def features(m: Dims) -> int:
    """Return the channels of the last block, from which the class is read."""
    return int(EXPANSION * 2 ** (len(STAGES) - 1) * m["width"])


def forward_flops(m: Dims) -> float:
    """Return the operations of a pass: 2 for each weight of a kernel and place, and classifier."""
    found = sum(2 * i * o * k * k * places for i, o, k, places in convolutions(m))
    return float(found + 2 * features(m) * m["num_classes"])


def activation_bytes(m: Dims) -> int:
    """Return what a pass over one image holds at its widest point, in bf16.

    A convolution's input and output, its normalized output, and the block's shortcut: at most the
    output of a stage's block four times over, or the stem's three.
    """
    return HALF * max(widest(m).values())


def widest(m: Dims) -> dict[str, int]:
    """Return the numbers that stem and blocks hold at most."""
    first, *rest = convolutions(m)
    image = int(m["num_channels"] * m["image_height"] * m["image_width"])
    blocks = max(o * places for _, o, _, places in rest)
    return {"stem": image + 2 * first[1] * first[3], "blocks": 4 * blocks}


def load(m: Dims) -> Load:
    """Return what labelling one image takes; running statistics are held as the weights are."""
    weights = HALF * (count(m) + statistics(m))
    first = Work(forward_flops(m), float(weights))
    return Load(weights, cache=0, activations=activation_bytes(m), first=first)


def explained(m: Dims, parameters: int) -> dict[str, str]:
    """Return the arithmetic of weights, cache and activations."""
    parts = widest(m)
    return {
        "weights": f"{parameters:,} and {statistics(m):,} running statistics at {8 * HALF} bits",
        "cache": "none: nothing is kept from one image to the next",
        "activations": f"one image in bf16: the larger of the stem's {parts['stem']:,} numbers and "
        f"of four times a block's largest output, {parts['blocks']:,}",
    }


def figures(m: Dims) -> dict[str, tuple[Value | str, str]]:
    """Return what the documents say of depth and channels."""
    weighted = 3 * sum(depths(m)) + 2  # layers with weights, counted as the authors do
    return {
        "layers": (weighted, ""),
        "blocks": (sum(depths(m)), ""),
        "depths": (", ".join(map(str, depths(m))), ""),
        "features": (features(m), ""),
    }
