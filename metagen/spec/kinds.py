"""The kinds of values that a key may have: the allowed values, and their conversion."""

from __future__ import annotations

import datetime
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from metagen import units
from metagen.spec.findings import shown

_BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
_UNKNOWN = re.compile(
    r"\s*(un(known|disclosed|specified|determined|decided|declared)|tb[ad]|n/a|"
    r"not (yet )?(known|disclosed|specified|determined|decided|declared))\b",
    re.IGNORECASE,
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True)
class Flaw:
    """Why a value is refused.

    Attributes:
        sentence: The value and what is allowed instead; the message puts the key's path before it.
        hint: The nearest valid spelling, or another next step.
        at: The part of the value: `[2]`, `.d_model`, or "" for all of it.
    """

    sentence: str
    hint: str = ""
    at: str = ""


class RefusedError(Exception):
    """A value that its kind does not allow, with all its flaws."""

    def __init__(self, *flaws: Flaw) -> None:
        super().__init__("; ".join(flaw.sentence for flaw in flaws))
        self.flaws = flaws


@dataclass(frozen=True)
class Kind:
    """A kind of values for a key.

    Attributes:
        allowed: The allowed values, in words.
        parse: Converts the value of YAML to the typed value; raises `RefusedError`.
        json: The same as a JSON Schema.
        as_text: Whether a plain number is read as its spelling (version: 1.10).
    """

    allowed: str
    parse: Callable[[Any], Any]
    json: Mapping[str, Any] = field(default_factory=dict)
    as_text: bool = False


def refuse(value: Any, allowed: str, hint: str = "") -> NoReturn:
    """Refuse a value; the message names what is allowed instead."""
    raise RefusedError(Flaw(f"is {shown(value)}; allowed: {allowed}", hint))


def did_you_mean(word: str) -> str:
    """Return the hint that suggests a spelling; "" for none."""
    return f"did you mean {word}?" if word else ""


def _is_control(character: str, lines: bool) -> bool:
    if character == "\n":
        return not lines
    category = unicodedata.category(character)
    return category in {"Cc", "Cs", "Zl", "Zp"} or unicodedata.bidirectional(character) in _BIDI


def text(longest: int, *, lines: bool = False) -> Kind:
    """Free text: any printable characters, at most `longest` of them, on one line or several."""
    allowed = f"text of at most {longest:,} characters" + ("" if lines else " on one line")

    def parse(value: Any) -> str:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            refuse(value, allowed)
        if not value.strip():
            refuse(value, allowed, "remove the key if it has no value")
        if len(value) > longest:
            raise RefusedError(Flaw(f"has {len(value)} characters; allowed: {allowed}"))
        odd = next((one for one in value if _is_control(one, lines)), None)
        if odd is not None:
            raise RefusedError(Flaw(f"has the control character {odd!a}; allowed: {allowed}"))
        return value

    return Kind(allowed, parse, {"type": ["string", "number"], "maxLength": longest}, as_text=True)


def choice(
    *values: str,
    synonyms: Mapping[str, str] | None = None,
    barred: Mapping[str, str] | None = None,
    any_case: bool = False,
) -> Kind:
    """One of some words.

    Args:
        values: The words.
        synonyms: Other spellings, each with its word.
        barred: Known words that are refused, each with the reason.
        any_case: Whether to ignore case.
    """
    spelled = {value: value for value in values} | dict(synonyms or {})
    allowed = ", ".join(spelled)
    folded = {word.lower(): value for word, value in spelled.items()} if any_case else {}
    words: dict[str, Any] = {"enum": list(spelled)}
    json = {"anyOf": [words, {"type": "string"}]} if any_case else words

    def parse(value: Any) -> str:
        if not isinstance(value, str):
            refuse(value, allowed)
        if barred and value in barred:
            raise RefusedError(Flaw(f"is {shown(value)}: {barred[value]}; allowed: {allowed}"))
        word = spelled.get(value, folded.get(value.lower()) if value.isascii() else None)
        if word is None:
            refuse(value, allowed, did_you_mean(units.nearest(value, spelled)))
        return word

    return Kind(allowed, parse, json, as_text=True)


def pattern(expression: str, allowed: str, *, longest: int = 200) -> Kind:
    """Text that a regular expression matches as a whole; `allowed` says so in words."""
    line, shape = text(longest), re.compile(expression)

    def parse(value: Any) -> str:
        word: str = line.parse(value)
        return word if shape.fullmatch(word) else refuse(word, allowed)

    json = {"type": ["string", "number"], "maxLength": longest, "pattern": f"^(?:{expression})$"}
    return Kind(allowed, parse, json, as_text=True)


def date(*, coarse: bool = False) -> Kind:
    """A day as YYYY-MM-DD; a `coarse` one may also be a month or a year."""
    forms = (r"\d{4}(?:-\d{2}(?:-\d{2})?)?", "YYYY, YYYY-MM or YYYY-MM-DD")
    expression, form = forms if coarse else (r"\d{4}-\d{2}-\d{2}", "YYYY-MM-DD")
    allowed = f"a date as {form}"
    shape = pattern(expression, allowed)

    def parse(value: Any) -> str:
        day = str(shape.parse(value))
        try:
            datetime.date.fromisoformat(f"{day}-01-01"[:10])
        except ValueError:
            refuse(value, f"{allowed}, of the calendar")
        return day

    return Kind(allowed, parse, shape.json, as_text=True)


def flag() -> Kind:
    """True or false."""

    def parse(value: Any) -> bool:
        return value if isinstance(value, bool) else refuse(value, "true or false")

    return Kind("true or false", parse, {"type": "boolean"})


def whole(least: int, most: int) -> Kind:
    """A whole number between two bounds, both included."""
    allowed = f"a whole number from {least:,} to {most:,}"

    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            refuse(value, allowed, _unquoted(value))
        return value

    return Kind(allowed, parse, {"type": "integer", "minimum": least, "maximum": most})


def real(least: float, most: float, *, above: bool = False) -> Kind:
    """A number between two bounds, both included; `above` excludes the lower one."""
    bound = f"above {least:g}, at most {most:g}" if above else f"from {least:g} to {most:g}"
    allowed = f"a number {bound}"

    def parse(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            refuse(value, allowed, _unquoted(value))
        if not least <= value <= most or (above and value == least):
            refuse(value, allowed)
        return float(value)

    lower = "exclusiveMinimum" if above else "minimum"
    return Kind(allowed, parse, {"type": "number", lower: least, "maximum": most})


def _unquoted(value: Any) -> str:
    """Return the hint for a number that was written in quotes."""
    digits = isinstance(value, str) and value.replace(".", "", 1).isdigit()
    return "write it without quotes" if digits else ""


def is_unknown(value: Any) -> bool:
    """Return whether a text says that a quantity is not known: `unknown but large`."""
    return isinstance(value, str) and bool(_UNKNOWN.match(value))


def quantity(parse: Callable[[Any], Any], allowed: str, *, numbers: bool = False) -> Kind:
    """A number with a unit; `numbers` also allows a bare number.

    A quantity that is said to be unknown is parsed as None: it is not declared.
    """
    types: tuple[type, ...] = (str, int, float) if numbers else (str,)

    def checked(value: Any) -> Any:
        if is_unknown(value):
            return None
        if isinstance(value, bool) or not isinstance(value, types):
            refuse(value, allowed)
        try:
            return parse(value)
        except units.UnitError as error:
            refuse(value, error.allowed, did_you_mean(error.nearest))

    return Kind(allowed, checked, {"type": ["string", "number"] if numbers else "string"})


def list_of(kind: Kind, *, least: int = 0, distinct: bool = True) -> Kind:
    """A list; a typed value is a tuple. Every flawed element is reported."""
    allowed = f"a list of: {kind.allowed}"

    def parse(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            refuse(value, allowed, f"write [{value}]" if isinstance(value, str) else "")
        if len(value) < least:
            refuse(value, f"{allowed}; at least {least}")
        parsed = _each({f"[{i}]": one for i, one in enumerate(value)}, lambda _: kind)
        _refuse_twice(list(parsed.values()) if distinct else [])
        return tuple(parsed.values())

    return Kind(allowed, parse, {"type": "array", "items": dict(kind.json)}, kind.as_text)


def _refuse_twice(values: list[Any]) -> None:
    for i, value in enumerate(values):
        if value in values[:i]:
            raise RefusedError(Flaw(f"is {shown(value)}, which is listed twice", at=f"[{i}]"))


def _each(parts: Mapping[str, Any], kind_of: Callable[[str], Kind]) -> dict[str, Any]:
    """Return the parts of a value, parsed; refuse with the flaws of all of them."""
    parsed, flaws = {}, []
    for at, part in parts.items():
        try:
            parsed[at] = kind_of(at).parse(part)
        except RefusedError as error:
            flaws += [Flaw(flaw.sentence, flaw.hint, at + flaw.at) for flaw in error.flaws]
    if flaws:
        raise RefusedError(*flaws)
    return parsed


def record(optional: Mapping[str, Kind] | None = None, /, **kinds: Kind) -> Kind:
    """A mapping with exactly these keys, and with any of some optional ones."""
    every = {**kinds, **(optional or {})}
    allowed = "{" + ", ".join(f"{name}: {kind.allowed}" for name, kind in kinds.items()) + "}"
    if optional:
        allowed = f"a mapping of {' and '.join(kinds)}, and any of {', '.join(optional)}"

    def parse(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or not set(kinds) <= set(value) <= set(every):
            also = f", any of {', '.join(optional)}" if optional else ""
            sentence = f"a mapping with the keys {' and '.join(kinds)}{also}, and no others"
            refuse(value, sentence, _misspelled(value, every))
        parts = {f".{name}": part for name, part in value.items() if part is not None}
        parsed = _each(parts, lambda at: every[at[1:]])
        return {name: parsed[f".{name}"] for name in every if f".{name}" in parsed}

    properties = {name: dict(kind.json) for name, kind in every.items()}
    json = {"type": "object", "properties": properties, "required": list(kinds)}
    return Kind(allowed, parse, json | {"additionalProperties": False}, as_text=True)


def _misspelled(value: Any, known: Iterable[str]) -> str:
    """Return the hint for the first key of a mapping that is not known; "" for none."""
    names = value if isinstance(value, dict) else ()
    return next((did_you_mean(units.nearest(n, known)) for n in names if n not in set(known)), "")


def pins() -> Kind:
    """Dimensions by name, each a number, true or false, or a word."""
    allowed = "a mapping of a dimension's name to a number, true, false or a word"

    def one(value: Any) -> Any:
        if isinstance(value, str):
            return text(200).parse(value)
        number = isinstance(value, (bool, int, float)) and math.isfinite(value)
        return value if number else refuse(value, "a number, true, false or a word")

    def parse(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            refuse(value, allowed)
        for name in value:
            if not _NAME.fullmatch(name):
                raise RefusedError(Flaw(f"names the dimension {shown(name)}; allowed: {allowed}"))
        parsed = _each(_parts(value), lambda _: Kind("", one))
        return {at[1:]: part for at, part in parsed.items()}

    return Kind(allowed, parse, {"type": "object"})


def texts(longest: int) -> Kind:
    """Texts by name, each on one line."""
    allowed = "a mapping of a name to a text"
    line = text(longest)

    def parse(value: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            refuse(value, allowed)
        for name in value:
            if not _NAME.fullmatch(name):
                raise RefusedError(Flaw(f"has the name {shown(name)}; allowed: {allowed}"))
        return {at[1:]: one for at, one in _each(_parts(value), lambda _: line).items()}

    return Kind(allowed, parse, {"type": "object", "additionalProperties": dict(line.json)})


def _parts(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a mapping that are not null, by their places in it."""
    return {f".{name}": part for name, part in value.items() if part is not None}


def either(first: Kind, second: Kind) -> Kind:
    """A value of one kind or the other; lists and mappings must be of the second."""

    def parse(value: Any) -> Any:
        if isinstance(value, (list, dict)):
            return second.parse(value)
        try:
            return first.parse(value)
        except RefusedError as error:
            if isinstance(value, str) and first.as_text:
                raise  # The value is a text of the first kind with a fault that is named.
            refuse(value, f"{first.allowed}; or {second.allowed}", error.flaws[0].hint)

    return Kind(
        f"{first.allowed}; or {second.allowed}",
        parse,
        {"anyOf": [dict(first.json), dict(second.json)]},
        first.as_text and second.as_text,
    )


def image_size(most: int) -> Kind:
    """One side of a square or [height, width], in pixels; a typed value is (height, width)."""
    side = whole(1, most)
    pair = list_of(side, least=2, distinct=False)

    def parse(value: Any) -> tuple[int, int]:
        if isinstance(value, list):
            height, width = pair.parse(value) if len(value) == 2 else refuse(value, allowed)
            return height, width
        return (side.parse(value),) * 2

    allowed = f"pixels of a side, or [height, width], each {side.allowed}"
    return Kind(allowed, parse, {"anyOf": [dict(side.json), dict(pair.json)]})
