"""Quantities of a spec: text to numbers and back, each unit checked.

A spec counts parameters and data in powers of ten (8B = 8 * 10^9), tokens of context in powers of
two (8k = 8,192), and memory in either (GB = 10^9 bytes, GiB = 2^30 bytes: IEC 80000-13).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

INFINITE: Final = "infinite"
LATENCY_CLASSES: Final = ("real-time", "near-real-time", "batch", "offline")

MOST_PARAMETERS = 10**15
MOST_BYTES = 10**18
MOST_TOKENS = 2**40

COUNT = "a whole number of at least 1, such as 50M, 8B or 1.5T"
BYTES = "an amount of memory above zero, such as 512MB, 16GB or 16GiB"
CONTEXT = "a number of tokens, such as 512, 8k, 256k, 1M, or infinite"
PROMPT = "a number of tokens, such as 512, 8k or 128k"
RATE = "a rate above zero of what the model gives out, such as 120 tok/s, 2 img/s or 30s clip/min"
DURATION = "a time above zero, such as 90 minutes, 36 hours or 21 days"
HARDWARE = "a number of devices and their name, such as 8xH100 or 256xA100"
INTENSITY = "grams of CO2 equivalent a kWh, above zero and at most 2,000, such as 380 g/kWh"
LATENCY = f"{', '.join(LATENCY_CLASSES)}, or a time above zero such as 10ms"

SCALES = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_CONTEXT_SCALES = {"": 1, "k": 2**10, "M": 2**20}
JOULES_PER_KWH = 3.6e6
_INTENSITIES = {"g/kWh": 1, "kg/kWh": 1000}
_MOST_GRAMS = 2000  # Above any grid: a value beyond it has the wrong unit.
BYTE_UNITS = {"B": 1} | {
    f"{prefix}{unit}": base**power
    for unit, base in (("B", 1000), ("iB", 1024))
    for power, prefix in enumerate("KMGTP", start=1)
}
_BYTES = {unit: size for unit, size in BYTE_UNITS.items() if "i" not in unit}
_TIMES = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_TIME_NAMES = {
    **{name: name for name in _TIMES},
    **{f"{name}s": name for name in _TIMES},
    **{"s": "second", "sec": "second", "min": "minute", "h": "hour", "d": "day", "w": "week"},
}
_LATENCY_UNITS = {"us": Decimal("1e-6"), "ms": Decimal("1e-3"), "s": Decimal(1)}
CLIP = "s clip/min"
# Units of a rate with a name of their own; any other thing X is counted in X/s.
_RATE_UNITS = {"token": "tok/s", "image": "img/s", "frame": "fps"}

_NUMBER = r"((?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,12})?)"
_QUANTITY = re.compile(_NUMBER + r"\s?(\S.{0,40})?")
_THING = r"[A-Za-z]{1,20}(?:[ -][A-Za-z]{1,20}){0,2}"
_RATE = re.compile(rf"{_NUMBER}\s?(?:({_THING})/s|(fps|{CLIP}))")
_HARDWARE = re.compile(r"([1-9][0-9]{0,6})\s?[x×]\s?([A-Za-z0-9][A-Za-z0-9 ._+-]{0,39})")  # noqa: RUF001


class UnitError(ValueError):
    """A text that is not a quantity of the requested kind.

    Attributes:
        allowed: What would have been accepted, in words.
        nearest: The nearest valid spelling; "" when nothing is near.
    """

    def __init__(self, allowed: str, nearest: str = "") -> None:
        super().__init__(f"allowed: {allowed}")
        self.allowed = allowed
        self.nearest = nearest


@dataclass(frozen=True)
class Rate:
    """A throughput: a number of things a second (`30s clip/min`: seconds of clip a minute)."""

    value: float
    unit: str

    def __str__(self) -> str:
        number = plain(Decimal(repr(self.value)))
        return f"{number}{self.unit}" if self.unit == CLIP else f"{number} {self.unit}"


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return the choice whose spelling is nearest to a word; "" when none is near."""
    by_case = {choice.casefold(): choice for choice in choices}
    if len(word) > 64:  # no choice is that long, and comparing costs its square
        return ""
    close = difflib.get_close_matches(word.casefold(), list(by_case), n=1)
    return by_case[close[0]] if close else ""


def plain(number: Decimal) -> str:
    """Return a number without exponent and without trailing zeros: 1.50 is 1.5, 1E+2 is 100."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _split(text: str, units: Mapping[str, object], allowed: str) -> tuple[Decimal, str]:
    """Return the number, above zero, and the unit as the table spells it."""
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise UnitError(allowed)
    number, unit = Decimal(match[1]), (match[2] or "")
    spelled = {name.lower(): name for name in units} | {name: name for name in units}
    spelled |= {name.upper(): name for name in units if len(name) == 1}
    if unit not in spelled:
        near = nearest(unit, spelled) if unit else ""
        raise UnitError(allowed, text.strip().removesuffix(unit) + near if near else "")
    if number <= 0:
        raise UnitError(allowed)
    return number, spelled[unit]


def _whole(number: Decimal, most: int, allowed: str) -> int:
    if number != number.to_integral_value() or not 1 <= number <= most:
        raise UnitError(f"{allowed}, at most {most:,}")
    return int(number)


def _parse_whole(
    value: str | int | float, scales: Mapping[str, int], most: int, allowed: str
) -> int:
    if isinstance(value, str):
        number, unit = _split(value, scales, allowed)
        return _whole(number * scales[unit], most, allowed)
    return _whole(Decimal(value), most, allowed)


def parse_count(value: str | int | float) -> int:
    """Return a count of parameters: `50M`, `8B`, `1.5T` or a plain number.

    Raises:
        UnitError: It is no whole number from 1 to 10^15.
    """
    return _parse_whole(value, SCALES, MOST_PARAMETERS, COUNT)


def parse_bytes(value: str | int | float) -> int:
    """Return an amount of memory in bytes: `512MB` (10^6), `16GiB` (2^30) or a plain number.

    Raises:
        UnitError: It is no whole number of bytes from 1 to 10^18.
    """
    return _parse_whole(value, BYTE_UNITS | {"": 1}, MOST_BYTES, BYTES)


def parse_context(value: str | int | float) -> int | str:
    """Return a context window in tokens (`8k` is 8,192), or `infinite`.

    Raises:
        UnitError: It is neither `infinite` (`inf`, `∞`) nor a whole number from 1 to 2^40.
    """
    if isinstance(value, str) and value.strip().lower() in {"∞", "inf", ".inf", "infinite"}:
        return INFINITE
    return _parse_whole(value, _CONTEXT_SCALES, MOST_TOKENS, CONTEXT)


def parse_tokens(value: str | int | float) -> int:
    """Return a number of tokens: `8k` is 8,192.

    Raises:
        UnitError: It is no whole number from 1 to 2^40.
    """
    return _parse_whole(value, _CONTEXT_SCALES, MOST_TOKENS, PROMPT)


def parse_rate(text: str) -> Rate:
    """Return a throughput: `120 tokens/s` is 120 `tok/s`, `30fps` is 30 `fps`.

    Any thing may be counted. Which one a model gives out is known to its family, which refuses
    the others.

    Raises:
        UnitError: The number is not above zero, or no unit such as `tok/s` follows it.
    """
    match = _RATE.fullmatch(text.strip())
    if match is None or Decimal(match[1]) <= 0:
        raise UnitError(RATE)
    return Rate(float(match[1]), match[3] or rate_unit(match[2]))


def rate_unit(thing: str) -> str:
    """Return the unit that counts things a second: `token` and `tokens` give `tok/s`.

    The last word becomes singular: `env steps` gives `env step/s`, `meshes` gives `mesh/s`.
    """
    name = " ".join(thing.lower().split())
    if re.search("(sh|ch|x|ss)es$", name):
        name = name[:-2]
    elif name.endswith("s") and not name.endswith("ss"):
        name = name[:-1]
    return _RATE_UNITS.get(name, f"{name}/s")


def _duration(text: str) -> tuple[Decimal, str]:
    number, unit = _split(text, _TIME_NAMES, DURATION)
    return number, _TIME_NAMES[unit]


def parse_duration(text: str) -> float:
    """Return a time in seconds: `90 minutes`, `36h`, `21 days`.

    Raises:
        UnitError: The number is not above zero, or the unit is none of second to week.
    """
    number, unit = _duration(text)
    return float(number * _TIMES[unit])


def spell_duration(text: str) -> str:
    """Return a time in its one spelling: `21d` is `21 days`."""
    number, unit = _duration(text)
    return f"{plain(number)} {unit}" + ("" if number == 1 else "s")


def parse_latency(text: str) -> float | str:
    """Return a latency in seconds, or the name of its class.

    Raises:
        UnitError: It is no class and no time above zero in us, ms or s.
    """
    if text in LATENCY_CLASSES:
        return text
    try:
        number, unit = _split(text, _LATENCY_UNITS, LATENCY)
    except UnitError as error:
        raise UnitError(LATENCY, error.nearest or nearest(text, LATENCY_CLASSES)) from None
    return float(number * _LATENCY_UNITS[unit])


def spell_latency(text: str) -> str:
    """Return a latency in its one spelling: `10 ms` is `10ms`; a class is itself."""
    if isinstance(parse_latency(text), str):
        return text
    number, unit = _split(text, _LATENCY_UNITS, LATENCY)
    return f"{plain(number)}{unit}"


def parse_intensity(text: str) -> float:
    """Return grams of CO2 equivalent a kWh of electricity: `380 g/kWh`, `0.38 kg/kWh`.

    Raises:
        UnitError: It is not above zero and at most 2,000 g/kWh.
    """
    return float(_grams(text))


def spell_intensity(text: str) -> str:
    """Return an intensity in its one spelling: `0.38 kg/kWh` is `380 g/kWh`."""
    return f"{plain(_grams(text))} g/kWh"


def _grams(text: str) -> Decimal:
    number, unit = _split(text, _INTENSITIES, INTENSITY)
    grams = number * _INTENSITIES[unit]
    if grams > _MOST_GRAMS:
        raise UnitError(INTENSITY)
    return grams


def parse_hardware(text: str) -> tuple[int, str]:
    """Return how many devices and their name: `256xA100` is (256, "A100").

    Raises:
        UnitError: It is not written as a number, an x and a name.
    """
    match = _HARDWARE.fullmatch(text.strip())
    if match is None:
        raise UnitError(HARDWARE)
    return int(match[1]), match[2]


def counted(text: str) -> tuple[int, str]:
    """Return how many devices and their name; a name alone is one device."""
    try:
        return parse_hardware(text)
    except UnitError:
        return 1, text


def _scaled(number: float, digits: int, suffixes: str) -> str:
    """Return a number to some significant digits, and the power of 1,000 as a letter."""
    text = f"{number:.{digits - 1}e}"
    power = max(0, min(int(text.partition("e")[2]) // 3, len(suffixes) - 1))
    rounded = Decimal(text) / 1000**power
    places = max(0, digits - 1 - rounded.adjusted()) if rounded else 0
    return f"{rounded:.{places}f} {suffixes[power]}"


def format_count(number: int, digits: int = 3) -> str:
    """Return a count for people: 8030261248 is `8.03 B`; below 1,000 every digit stands."""
    return str(number) if number < 1000 else _scaled(number, digits, " kMBT")


def format_bytes(number: int, digits: int = 3) -> str:
    """Return an amount of memory for people, in powers of ten: 16060522496 is `16.1 GB`."""
    return f"{number} B" if number < 1000 else _scaled(number, digits, " kMGTP") + "B"


def rounded(number: float, *, up: bool, digits: int = 2) -> Decimal:
    """Return a number to some significant digits, never below it, or else never above it."""
    exact = Decimal(repr(number))
    step = Decimal(1).scaleb(exact.adjusted() - digits + 1)
    return (exact / step).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR) * step


def spell_memory(number: float) -> str:
    """Return an amount of memory as a spec writes it, rounded up: 20993400000 is `21GB`."""
    return _spelled(rounded(number, up=True), _BYTES)


def spell_count(number: float, *, up: bool) -> str:
    """Return a count as a spec writes it: 5689000000 is `5.6B`, or `5.7B` rounded up."""
    return _spelled(rounded(number, up=up), SCALES)


def spell_context(tokens: int) -> str:
    """Return a context window exactly: 98304 is `96k`, 1000 is `1000`."""
    scales = (pair for pair in reversed(_CONTEXT_SCALES.items()) if tokens % pair[1] == 0)
    letter, size = next(scales)
    return f"{tokens // size}{letter}"


def _spelled(number: Decimal, scales: Mapping[str, int]) -> str:
    fitting = [pair for pair in scales.items() if pair[1] <= number]
    letter, size = fitting[-1] if fitting else next(iter(scales.items()))
    return f"{plain(number / size)}{letter}"
