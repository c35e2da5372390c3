"""What a model is made of, as a list of layers: its count, operations and weights follow from it.

A multiply-add counts as two operations. Biases, gains and elementwise functions count none: beside
the matrices they are below a percent, and fvcore, which measures the model, counts none either.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

HALF = 2  # bytes of a number in bf16


class Part(NamedTuple):
    """A layer, or several alike.

    Attributes:
        weights: Numbers that are multiplied with each place of the input.
        others: Parameters that cost no operations: biases, gains, tables that are looked up.
        places: Positions, pixels or rows at which the weights are used.
        pairs: Operations besides, such as those of attention's pairs of positions.
        state: Numbers that are stored and are no parameters, such as running means.
        times: How many such layers there are.
    """

    weights: int = 0
    others: int = 0
    places: int = 1
    pairs: int = 0
    state: int = 0
    times: int = 1

    def __mul__(self, times: float) -> Part:  # type: ignore[override]
        return Part(*self[:5], self.times * int(times))


def linear(inputs: float, outputs: float, places: float = 1, *, bias: bool = True) -> Part:
    """Return a linear layer: i * o weights, and o biases."""
    return Part(int(inputs * outputs), int(outputs) * bias, int(places))


def conv(inputs: float, outputs: float, kernel: float, places: float, *, bias: bool = True) -> Part:
    """Return a convolution with a square kernel, k^2 * i * o weights; `places` of its output."""
    return Part(int(inputs * outputs * kernel**2), int(outputs) * bias, int(places))


def conv_norm(inputs: float, outputs: float, kernel: float, places: float) -> Part:
    """Return a convolution whose bias is a batch normalization: gain, bias and two statistics."""
    weights, channels = int(inputs * outputs * kernel**2), 2 * int(outputs)
    return Part(weights, channels, int(places), state=channels)


def table(entries: float, width: float) -> Part:
    """Return vectors that are looked up or added, and multiplied with nothing."""
    return Part(others=int(entries * width))


def norm(width: float) -> Part:
    """Return a layer normalization: a gain and a bias for each of `width` numbers."""
    return Part(others=2 * int(width))


def encoder_block(width: float, inner: float, places: float) -> Part:
    """Return a Transformer block of full attention and a feed-forward layer.

    4d^2 + 2df weights; 9d + f biases and the gains of two norms; each of T positions attends to T
    others, which takes 4T^2 d operations.
    """
    d, f, t = int(width), int(inner), int(places)
    return Part(4 * d * d + 2 * d * f, 9 * d + f, t, pairs=4 * t * t * d)


def count(parts: Iterable[Part]) -> int:
    """Return the exact number of parameters."""
    return sum(p.times * (p.weights + p.others) for p in parts)


def state(parts: Iterable[Part]) -> int:
    """Return the numbers that are stored beside the parameters."""
    return sum(p.times * p.state for p in parts)


def flops(parts: Iterable[Part]) -> float:
    """Return the operations of one pass: two for each weight and place, and those of pairs."""
    return float(sum(p.times * (2 * p.weights * p.places + p.pairs) for p in parts))
