"""Values worth trying for a dimension: the round numbers around a trend."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

REACH = 0.35  # how far from the trend to search, in natural logarithms


def floor_power(value: float, base: int = 2) -> int:
    """Return the largest power of the base that is at most the value, and at least 1."""
    return int(base ** max(0, math.floor(math.log(max(value, 1), base) + 1e-12)))


def near(centre: float, step: int) -> range:
    """Return the multiples of a step that lie within reach of the trend's value."""
    low, high = centre * math.exp(-REACH), centre * math.exp(REACH)
    return range(max(step, step * round(low / step)), step * math.ceil(high / step) + 1, step)


def down_to_fit(values: range, fits: Callable[[int], bool], least: int = 1) -> range:
    """Return ascending values, or, where not even the first one fits, those from a smaller one on.

    The smaller one is the largest power of two that fits, or the least; the steps are eighths.
    """
    low = values[0]
    while low > least and not fits(low):
        low = max(least, floor_power(low - 1))
    return values if low == values[0] else range(low, values[0] + 1, max(1, low // 8))


def powers_near(centre: float, smallest: int, largest: int) -> list[int]:
    """Return the powers of two within a factor of two of the trend's value, or the nearest."""
    exponents = range(smallest.bit_length() - 1, largest.bit_length())
    powers = [2**each for each in exponents]
    return [p for p in powers if abs(math.log2(p / centre)) <= 1] or [closest(powers, centre)]


def granule(width: float) -> int:
    """Return the power of two, at least 8, of which a width of this size holds 16 to 32."""
    return max(8, floor_power(width) // 16)


def odd_part(number: int) -> int:
    """Return the number without its factors of two: 3,584 is 7 * 2**9, so 7."""
    return number // (number & -number)


def divisors(number: int) -> list[int]:
    """Return the divisors of a number, ascending."""
    return [each for each in range(1, number + 1) if number % each == 0]


def closest(numbers: list[int], wanted: float) -> int:
    """Return the number whose ratio to the wanted one is nearest to 1; all are positive."""
    return min(numbers, key=lambda number: abs(math.log(number / wanted)))


def heads(width: float, sizes: Iterable[int]) -> list[int]:
    """Return the numbers of heads that cut a width into heads of one of the sizes, or 1."""
    return [int(width) // size for size in sizes if width % size == 0] or [1]


def fill(room: float, each: float, step: int) -> int:
    """Return the largest multiple of a step that leaves no room unused, or else the step itself.

    Args:
        room: Parameters that are left to the dimension.
        each: Parameters that it takes for each unit.
        step: What the dimension is a multiple of.
    """
    return max(step, int(room / each) // step * step)
