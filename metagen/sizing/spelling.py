"""Figures as a spec would write them, so that a proposed change can be copied into it."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from metagen.units import plain

_LETTERS = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15}
_TOKENS = {"": 1, "k": 2**10, "M": 2**20}


def rounded(number: float, *, up: bool, digits: int = 2) -> Decimal:
    """Return a number to some significant digits, never below it, or else never above it."""
    exact = Decimal(repr(number))
    step = Decimal(1).scaleb(exact.adjusted() - digits + 1)
    return (exact / step).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR) * step


def memory(number: float) -> str:
    """Return an amount of memory, rounded up: 20993400000 is `21GB`."""
    return _spelled(rounded(number, up=True), _BYTES)


def count(number: float, *, up: bool) -> str:
    """Return a count: 5689000000 is `5.6B`, or `5.7B` rounded up."""
    return _spelled(rounded(number, up=up), _LETTERS)


def context(tokens: int) -> str:
    """Return a context window exactly: 98304 is `96k`, 1000 is `1000`."""
    scales = (pair for pair in reversed(_TOKENS.items()) if tokens % pair[1] == 0)
    letter, size = next(scales)
    return f"{tokens // size}{letter}"


def _spelled(number: Decimal, scales: dict[str, int]) -> str:
    fitting = [pair for pair in scales.items() if pair[1] <= number]
    letter, size = fitting[-1] if fitting else next(iter(scales.items()))
    return f"{plain(number / size)}{letter}"
