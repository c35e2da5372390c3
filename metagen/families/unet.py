"""Closed forms of a U-Net: its parts, their parameters, operations and what they keep.

C is a number of channels, e the width of the embedding of the condition, and a pixel one place of a
level's feature map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

HALF = 2  # bytes of a number in bf16


@dataclass(frozen=True)
class Part:
    """One step of the way down, through the middle, or up.

    Attributes:
        kind: `block`, `middle` (two blocks with attention between them), `down` or `up`.
        level: Whose width and, but for `up`, whose resolution its output has.
        inputs: Channels in.
        outputs: Channels out.
        kept: Whether its output is seen again on the way up.
    """

    kind: str
    level: int
    inputs: int
    outputs: int
    kept: bool = False


@dataclass(frozen=True)
class Attention:
    """What stands behind the residual blocks of some levels, and in the middle.

    Attributes:
        layers: How many layers of it the blocks of each level have, from the first level on.
        middle: How many layers the middle has.
        count: The parameters of so many layers at a width.
        flops: The operations of so many layers at a width and a number of pixels.
    """

    layers: tuple[int, ...]
    middle: int
    count: Callable[[int, int], int]
    flops: Callable[[int, int, int], int]


@dataclass(frozen=True)
class UNet:
    """The shape of a U-Net.

    Attributes:
        widths: Channels of each level, the first one first; each halves the resolution.
        blocks: Residual blocks of a level on the way down; there is one more on the way up.
        embedding: Width e of the embedding of the condition.
        channels: Channels of its input and of its output.
        size: Rows and columns of its input.
        attention: What some levels have behind each block.
    """

    widths: tuple[int, ...]
    blocks: int
    embedding: int
    channels: int
    size: tuple[int, int]
    attention: Attention

    def pixels(self, level: int) -> int:
        """Return the pixels of a level."""
        height, width = self.size
        return (height >> level) * (width >> level)

    def parts(self) -> Iterator[Part]:
        """Yield every part in the order in which it runs."""
        inputs, last = self.widths[0], len(self.widths) - 1
        for level, width in enumerate(self.widths):
            for _ in range(self.blocks):
                yield Part("block", level, inputs, width, kept=True)
                inputs = width
            if level < last:
                yield Part("down", level + 1, width, width, kept=True)
        yield Part("middle", last, inputs, inputs)
        for level in range(last, -1, -1):
            width = self.widths[level]
            for extra in (*[width] * self.blocks, self.widths[max(0, level - 1)]):
                yield Part("block", level, inputs + extra, width)
                inputs = width
            if level:
                yield Part("up", level - 1, width, width)

    def count(self) -> int:
        """Return the parameters of everything but what makes the embedding of the condition."""
        first = self.widths[0]
        ends = 9 * first * self.channels * 2 + first + self.channels + 2 * first
        return ends + two_layers(first, self.embedding) + sum(map(self._count, self.parts()))

    def _count(self, part: Part) -> int:
        i, o, e = part.inputs, part.outputs, self.embedding
        if part.kind in ("down", "up"):
            return 9 * i * o + o
        if part.kind == "middle":
            return 2 * residual(i, o, e) + self.attention.count(o, self.attention.middle)
        layers = self.attention.layers[part.level]
        return residual(i, o, e) + (self.attention.count(o, layers) if layers else 0)

    def flops(self) -> int:
        """Return the operations of one pass: 2 for each multiply-add of a layer and attention."""
        first, pixels = self.widths[0], self.pixels(0)
        ends = 2 * 9 * first * self.channels * 2 * pixels
        embedding = 2 * (first + self.embedding) * self.embedding
        return ends + embedding + sum(map(self._flops, self.parts()))

    def _flops(self, part: Part) -> int:
        i, o, pixels = part.inputs, part.outputs, self.pixels(part.level)
        if part.kind in ("down", "up"):
            return 2 * 9 * i * o * pixels
        shortcut = i * o if i != o else 0
        block = 2 * pixels * (9 * i * o + 9 * o * o + shortcut) + 2 * self.embedding * o
        if part.kind == "middle":
            return 2 * block + self.attention.flops(o, pixels, self.attention.middle)
        layers = self.attention.layers[part.level]
        return block + (self.attention.flops(o, pixels, layers) if layers else 0)

    def kept(self) -> int:
        """Return the numbers that wait for the way up when it begins."""
        waiting = sum(p.outputs * self.pixels(p.level) for p in self.parts() if p.kept)
        return waiting + self.widths[0] * self.pixels(0)

    def widest(self) -> int:
        """Return the most numbers that a part holds: its input, and twice what it makes of it."""
        return max((p.inputs + 2 * p.outputs) * self.pixels(p.level) for p in self.parts())


def residual(inputs: int, outputs: int, embedding: int) -> int:
    """Return the parameters of a residual block: norms, convolutions, embedding, shortcut."""
    shortcut = inputs * outputs + outputs if inputs != outputs else 0
    convolutions = 9 * inputs * outputs + 9 * outputs * outputs + 2 * outputs
    return 2 * inputs + 2 * outputs + convolutions + (embedding + 1) * outputs + shortcut


def two_layers(width: int, embedding: int) -> int:
    """Return the parameters of the two linear layers that make an embedding."""
    return (width + 1) * embedding + (embedding + 1) * embedding
