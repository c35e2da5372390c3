"""The text of a value with its unit.

A no-break space separates a number from its unit; each output format writes it in its own way.
"""

from __future__ import annotations

import re
from typing import Any

_Prefixes = tuple[tuple[float, str], ...]

SPACE = "\u00a0"
_DECIMAL: _Prefixes = (
    *((1e24, "Y"), (1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G")),
    *((1e6, "M"), (1e3, "k"), (1.0, "")),
)
_COUNT: _Prefixes = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_SECONDS: _Prefixes = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
_BINARY = ((1048576, "M"), (1024, "k"))
_DECIMALS = {"bit/byte": 3, "nat/token": 3, "bits_per_byte": 3}
MINUS, TIMES = "\u2212", "\u00d7"
_POWER = re.compile(r"(?<![\w.])(\d[\d,]*(?:\.\d+)?)e([+-]?)0*(\d+)(?![\w.]*\w)")
_NEGATIVE = re.compile(r"(?<![\w.)-])-(?=\d)")
_RAISED = str.maketrans(
    "-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
)
# Nouns that a sentence counts, and the verbs that may follow them.
_COUNTED = (
    "axes blocks bytes cells channels chunks classes clips clouds codebooks columns components "
    "convolutions days devices dimensions directions documents edges embeddings entries epochs "
    "examples experts features filters forecasts frames graphs groups heads hours images inputs "
    "items layers levels maps minutes networks nodes numbers observations outputs pairs "
    "parameters passages passes patches pixels places points positions queries questions rows "
    "samples scales seconds seeds sequences series shapes stages steps texts tokens units values "
    "vectors videos windows words"
)
_VERBS = "add attend compute follow have hold make map mix pass read share"
_ONE = re.compile(
    rf"(?<![\w.,\u2212-])1(?P<gap>(?:[ ~{SPACE}][A-Za-z][\w-]*){{0,2}}[ ~{SPACE}])"
    rf"(?P<noun>{_COUNTED.replace(' ', '|')})\b(?P<verb> (?:{_VERBS.replace(' ', '|')})\b)?"
)
# What a limit of two ends is called; a budget is the most that may be used.
_LIMITS = {
    "parameter_budget.max": "parameter budget",
    "parameter_budget.min": "least number of parameters",
}
_SHORT = re.compile(r"\b(?:co2|cpu|gpu|npu)\b")
_IRREGULAR = {"series": "series", "axes": "axis", "have": "has", "pass": "passes"}


def write(value: Any, unit: str, style: str = "full") -> str:
    """Return the text of a value.

    Args:
        value: A number, a string, a truth value, or a sequence of these.
        unit: The unit; "" without one.
        style: `full` (exact, with unit), `bare` (exact, without unit), `short` (three significant
            digits with a prefix), `percent`, `words` (an identifier as words),
            `title` (with a capital at its start), `heading` (words with a capital), or
            `direction` (whether higher or lower values of a metric are better).
    """
    if isinstance(value, (list, tuple)):
        return ", ".join(write(item, unit, style) for item in value)
    if isinstance(value, bool):
        if style == "direction":
            return "higher is better" if value else "lower is better"
        return "yes" if value else "no"
    if isinstance(value, str):
        return _text(value, style)
    text = _STYLES[style](value, unit)
    return f"{MINUS}{text[1:]}" if text.startswith("-") else text


def _text(value: str, style: str) -> str:
    if style == "title":
        value = value[:1].upper() + value[1:]
    if style in ("words", "heading"):
        value = _LIMITS.get(value.lower(), value)
        value = _SHORT.sub(
            lambda found: found[0].upper(), value.replace("_", " ").replace(".", " ")
        )
        value = value[:1].upper() + value[1:] if style == "heading" else value
    return value


def agreeing(text: str) -> str:
    """Return a document in which `1 blocks follow` is `1 block follows`."""
    return _ONE.sub(_agreeing, text)


def _agreeing(match: re.Match[str]) -> str:
    verb = match["verb"] or ""
    if verb:
        verb = f" {_IRREGULAR.get(verb[1:], verb[1:] + 's')}"
    return f"1{match['gap']}{singular(match['noun'])}{verb}"


def singular(noun: str) -> str:
    """Return the singular of a noun that a document counts: `entries` gives `entry`."""
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    for end, instead in (("ies", "y"), ("sses", "ss"), ("ches", "ch")):
        if noun.endswith(end):
            return noun.removesuffix(end) + instead
    return noun.removesuffix("s")


def arithmetic(text: str) -> str:
    """Return the arithmetic of a file as in print: with powers of ten and signs for x and <=."""
    text = _POWER.sub(_power, text)
    return (
        _NEGATIVE.sub(MINUS, text)
        .replace(" x ", f" {TIMES} ")
        .replace("<=", "≤")
        .replace(">=", "≥")
    )


def _power(match: re.Match[str]) -> str:
    figure, sign, exponent = match.groups()
    power = "10" + (sign.strip("+") + exponent).translate(_RAISED)
    return power if figure == "1" else f"{figure}{SPACE}{TIMES}{SPACE}{power}"


def _full(value: float, unit: str) -> str:
    if unit == "share":
        return _percent(value, unit)
    name = singular(unit) if value == 1 and unit in _COUNTED.split() else unit
    return f"{_bare(value, unit)}{SPACE}{name}" if name else _bare(value, unit)


def _bare(value: float, unit: str) -> str:
    if unit in _DECIMALS:
        return f"{value:,.{_DECIMALS[unit]}f}"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    if 1e4 <= abs(value) < 1e15:
        return f"{value:,.0f}"
    # A very small number is a setting such as an epsilon, for which the field writes 1e-5.
    return f"{value:,.4g}".replace("e-0", "e-").replace("e+", "e")


def _short(value: float, unit: str) -> str:
    if unit == "bytes":
        return _scaled(value, _DECIMAL, "B")
    if unit in ("FLOP", "FLOPs"):
        return _scaled(value, _DECIMAL, "FLOP")
    if unit == "s" and 0 < abs(value) < 1:
        return _scaled(value, _SECONDS, "s")
    if unit == "tokens":
        return _context(value)
    if unit == "parameters":
        return _scaled(value, _COUNT, "")
    return _full(value, unit)


def _context(tokens: float) -> str:
    """Write a context window in the field's style: 8k is 8,192 tokens."""
    for size, letter in _BINARY:
        if tokens >= size and tokens % size == 0:
            return f"{int(tokens // size)}{letter}{SPACE}tokens"
    return _full(tokens, "tokens")


def prefix(value: float) -> tuple[float, str]:
    """Return the size and the letter of the decimal prefix for a value."""
    return next(pair for pair in _DECIMAL if abs(value) >= pair[0] or pair[0] == 1.0)


def _scaled(value: float, prefixes: _Prefixes, unit: str) -> str:
    """Write three significant digits; a figure that rounds to a thousand gets the next prefix."""
    for size, letter in prefixes:
        figure = f"{value / size:#.3g}".rstrip(".")
        if abs(float(figure)) >= 1 or size == prefixes[-1][0]:
            return f"{figure if size != 1 else _bare(value, '')}{SPACE}{letter}{unit}".rstrip(SPACE)
    raise AssertionError(value)


def _percent(value: float, unit: str) -> str:
    """Write a share; a small share is not rounded to 0%, nor one below 1 to 100%.

    A very large one has three significant digits.
    """
    if abs(value) >= 10:
        return f"{float(f'{100 * value:.3g}'):,.0f}%"
    if 0.9995 <= value < 1:
        return f"{100 * value:.2f}%" if value < 0.99995 else "over 99.99%"
    return f"{100 * value:.1f}%" if abs(value) >= 0.001 or value == 0 else f"{100 * value:.2g}%"


_STYLES = {
    "full": _full,
    "bare": _bare,
    "short": _short,
    "percent": _percent,
    "words": _bare,
}
