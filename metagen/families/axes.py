"""The vocabulary of a search space: axes, rules, and the round numbers around a trend."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from metagen.tasks.task import Dims, Value

REACH = 0.35  # distance from the trend within which to search, in natural logarithms
LEAST_ENTRIES = 512  # A token table with fewer would cut texts in single bytes.
TABLE_SHARE = 0.5  # A token table takes at most this share of the budget; blocks take the rest.


@dataclass(frozen=True)
class Axis:
    """One dimension of the search space, chosen after those before it.

    An axis with a price is a lever: its other values are taken where the first breaks a limit.

    Attributes:
        name: Name of the dimension or format.
        choices: The values to try, given what is already chosen; None leaves the dimension out.
        price: What each value but the first, plain one costs, in usual deviations squared.
        words: A lever's choice in words, such as `full attention`.
        grid: Whether the axis spans the grid of shapes, rather than following from the others.
        fills: Whether it takes what the others leave of the parameter count, or else its least.
        off: The pinned value that leaves the dimension out, for one that not every design has.
    """

    name: str
    choices: Callable[[Dims], Iterable[Value | None]]
    price: Callable[[Dims, Value | None], float] | None = None
    words: Callable[[Dims], str] | None = None
    grid: bool = False
    fills: bool = False
    off: Value | None = None


@dataclass(frozen=True)
class Rule:
    """A relation that dimensions must satisfy for the model to exist.

    Attributes:
        names: The dimensions that the rule relates; it holds where one of them is absent.
        holds: Whether the rule is satisfied.
        sentence: The rule in words.
    """

    names: tuple[str, ...]
    holds: Callable[[Dims], bool]
    sentence: str

    def broken(self, dims: Dims) -> bool:
        """Return whether dimensions have all that the rule relates and break it."""
        return all(name in dims for name in self.names) and not self.holds(dims)


def divides(part: str, whole: str, why: str) -> Rule:
    """Return the rule that one dimension divides another; `why` begins its sentence."""
    sentence = f"{why}, so {whole} must be a multiple of {part}"
    return Rule((whole, part), lambda m: m[whole] % m[part] == 0, sentence)


def halves(side: str, patch: str = "") -> Rule:
    """Return the rule that a side is even on every level but the coarsest.

    `patch` is the dimension that says how many pixels make a row of the finest level, if not 1.
    """
    step = f"{patch} * 2 ** (n_levels - 1)".removeprefix(" * ")

    def holds(m: Dims) -> bool:
        return m[side] % (m.get(patch, 1) * 2 ** (m["n_levels"] - 1)) == 0

    names = (side, "n_levels", *([patch] if patch else []))
    return Rule(names, holds, f"levels halve {side}, so it must be a multiple of {step}")


def floor_power(value: float, base: int = 2) -> int:
    """Return the largest power of the base that is at most the value, and at least 1."""
    return int(base ** max(0, math.floor(math.log(max(value, 1), base) + 1e-12)))


def near(centre: float, step: int) -> range:
    """Return the multiples of a step that lie within reach of the trend's value."""
    low, high = centre * math.exp(-REACH), centre * math.exp(REACH)
    return range(max(step, step * round(low / step)), step * math.ceil(high / step) + 1, step)


def depths_near(centre: float, least: int = 1) -> range:
    """Return numbers of blocks around the trend's; many are tried in steps of about a sixteenth."""
    return near(centre, max(least, floor_power(centre) // 16))


def round_near(centre: float, step: int, roundest: float) -> list[int]:
    """Return the multiples around the trend's value that are a power of two times a small odd."""
    return [width for width in near(centre, step) if odd_part(width) <= roundest]


def multiple(value: float, step: int) -> int:
    """Return the multiple of a step nearest to a value, at least one step."""
    return max(step, step * round(value / step))


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
    small = [each for each in range(1, math.isqrt(number) + 1) if number % each == 0]
    return sorted({*small, *(number // each for each in small)})


def divisor_near(number: float, wanted: float) -> int:
    """Return the divisor of a number whose ratio to the wanted one is nearest to 1."""
    return closest(divisors(int(number)), wanted)


def closest(numbers: list[int], wanted: float) -> int:
    """Return the number whose ratio to the wanted one is nearest to 1; all are positive."""
    return min(numbers, key=lambda number: abs(math.log(number / wanted)))


def heads(width: float, sizes: Iterable[int]) -> list[int]:
    """Return the numbers of heads that cut a width into heads of one of the sizes, or 1."""
    return [int(width) // size for size in sizes if width % size == 0] or [1]


def table_entries(usual: int, width: int, budget: int) -> int:
    """Return the usual number of a table's entries, or the largest power of two that leaves room.

    Args:
        usual: Entries of published models.
        width: Parameters of one entry.
        budget: The count to fill.
    """
    room = TABLE_SHARE * budget / width
    return usual if usual <= room else max(LEAST_ENTRIES, floor_power(room))


def table_reason(chosen: int, usual: int, width: int, budget: int) -> str:
    """Return why a table has the entries that `table_entries` chose."""
    if chosen == usual:
        return f"the {usual:,} of published models, at most {TABLE_SHARE:.0%} of the budget"
    more = f"the {usual:,} of published models are more than {TABLE_SHARE:.0%} of the budget"
    if chosen * width <= TABLE_SHARE * budget:
        return f"{more}; the largest power of two that is not"
    return f"{more}; so is this, the smallest table that is tried"
