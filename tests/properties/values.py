"""For each leaf key of a spec: other values that its kind allows."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from metagen.errors import SpecError
from metagen.spec import Spec, load
from metagen.spec.kinds import RefusedError
from metagen.spec.schema import keys

from . import inside

# One or two of every form of value that a kind may ask for; a kind picks those that it allows.
_TEXTS = (
    "another text, with 100% of $special #characters", "100ms", "batch", "5 tok/s", "2 img/s",
    "1B tokens", "8xA100", "4xH100", "2 days", "3 hours", "9M", "1GB", "1k", "another name",
    "2025-01-31", "https://example.org/another", "nl", "380 g/kWh", "0.3 kg/kWh",
)  # fmt: skip
_NUMBERS = (7, 3, 32, 1, 0.125, 0.999, 64, True, False)
_PARTS = [{"name": "Decoder", "type": "transformer_decoder"}, {"name": "Odd", "type": "odd_part"}]
_SOURCE = {"name": "another source", "license": "mit", "date": "2025"}
_POOL = (
    *_TEXTS,
    *_NUMBERS,
    ["a text of a list"],
    ["nl"],
    [_SOURCE],
    ["flip"],
    [{**_PARTS[0]}],
    [{**_PARTS[1]}],
)
_SCALES = (0.95, 1.05, 0.5, 2)
_FIXED = {"metagen_version"}  # keys with one allowed value


def setting(key: str, value: Any) -> str:
    """Return the `key=value` text that sets a key to a raw value."""
    return f"{key}={json.dumps(value, ensure_ascii=False)}"


@cache
def leaf_keys() -> tuple[str, ...]:
    """Return every leaf key that has more than one value."""
    return tuple(key for key in keys() if key not in _FIXED)


def others(spec: Spec, key: str, chance: random.Random) -> list[Any]:
    """Return raw values that a key's kind allows and that differ, typed, from the spec's.

    Values near to the one that is there come first, then the kind's own words, then the pool.
    """
    now = spec.key(key)
    named = list(words(keys()[key].kind.json))
    chance.shuffle(named)
    raws: dict[str, Any] = {}
    for raw in [*_near(now), *named, *([word] for word in named), *_POOL, *_pins(spec, key)]:
        typed = _typed(key, raw)
        if typed is not None and repr(typed) != repr(now):
            raws.setdefault(repr(typed), raw)
    return list(raws.values())


def buildable(spec: Path, key: str, chance: random.Random, most: int = 6) -> list[Any]:
    """Return values of `others` that a family says it builds, at most so many."""
    raws: list[Any] = []
    for raw in others(load(spec), key, chance):
        if len(raws) < most and not refusal(spec, setting(key, raw)):
            raws.append(raw)
    return raws


def refusal(spec: Path, *overrides: str) -> str:
    """Return why the door refuses a spec; "" when it does not."""
    try:
        inside.package(spec, overrides)
    except SpecError as error:
        return str(error)
    return ""


def _typed(key: str, raw: Any) -> Any:
    try:
        return keys()[key].kind.parse(raw)
    except RefusedError:
        return None


def _near(now: Any) -> Iterator[Any]:
    if isinstance(now, bool):
        yield not now
    elif isinstance(now, int):
        yield from (max(1, round(now * scale)) for scale in _SCALES)
    elif isinstance(now, float):
        yield from (now * scale for scale in _SCALES)
    elif isinstance(now, tuple):
        yield from (list(now[1:]), list(now[:-1]), list(now[::-1]))


def words(schema: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the words that a JSON Schema lists anywhere."""
    yield from schema.get("enum", ())
    inner = [schema["items"]] if "items" in schema else []
    for part in (*inner, *schema.get("anyOf", ())):
        yield from words(part)


def _pins(spec: Spec, key: str) -> Iterator[Any]:
    """Yield dimensions to pin, for the one key that holds such."""
    if key != "architecture.dims":
        return
    from metagen import families

    family = families.named(families.route(spec.key))
    for name, kind in family.dims.items():
        values = {bool: (True, False), int: (6, 4, 8, 16), float: (20000.0, 1e-6)}[kind]
        yield from ({name: value} for value in values)
