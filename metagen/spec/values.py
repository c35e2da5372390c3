"""The values that single keys of a spec allow, and those that several share."""

from __future__ import annotations

from typing import Any

from metagen import units
from metagen.spec import words
from metagen.spec.kinds import (
    Kind,
    choice,
    date,
    did_you_mean,
    either,
    list_of,
    pattern,
    quantity,
    real,
    record,
    refuse,
    text,
    whole,
)

NAME = text(200)
LINE = text(10_000)
PROSE = text(10_000, lines=True)
NUMBER_OF = whole(1, 10**9)
COUNT = quantity(units.parse_count, units.COUNT, numbers=True)
TASK = choice(*words.TASKS)
SHARE = real(0.0, 1.0)
ADDRESS = pattern(r"https?://[^\s<>\"'`\\|]+", "an address that begins with https://")


def inputs() -> Kind:
    return list_of(choice(*words.INPUTS, barred=words.UNBUILDABLE), least=1)


def outputs() -> Kind:
    synonyms, barred = words.OUTPUT_SYNONYMS, words.UNBUILDABLE
    return list_of(choice(*words.OUTPUTS, synonyms=synonyms, barred=barred), least=1)


def objective() -> Kind:
    return list_of(choice(*words.OBJECTIVES, synonyms=words.OBJECTIVE_SYNONYMS), least=1)


def device() -> Kind:
    """One device or a class of them, or a number of devices such as 8xH100."""
    known = (*words.DEVICE_CLASSES, *words.devices())
    allowed = f"{', '.join(known)}, or a number of one of these, such as 8xH100"

    def parse(value: Any) -> Any:
        if not isinstance(value, str):
            refuse(value, allowed)
        count, name = units.counted(value)
        near = units.nearest(name, (*words.short_names(), *known))
        many = f"{count}x" if count > 1 else ""
        device = words.device(name) or refuse(
            value, allowed, did_you_mean(near and f"{many}{near}")
        )
        return f"{many}{device}"

    json = {"anyOf": [{"enum": list(known)}, {"type": "string"}]}
    return Kind(allowed, parse, json, as_text=True)


def language() -> Kind:
    """A code of ISO 639, which script and region may follow."""
    allowed = "an ISO 639 code of a language, such as en or zh-Hant"
    form = pattern(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*", allowed)

    def parse(value: Any) -> Any:
        code = form.parse(value)
        return code if code.partition("-")[0] in words.languages() else refuse(value, allowed)

    return Kind(allowed, parse, form.json)


def source() -> Kind:
    """One source of training data: its name, or a mapping with what is known of it."""
    known = {
        "url": ADDRESS,
        "license": NAME,
        "date": date(coarse=True),
        "kind": choice(*words.ACQUISITIONS),
        "language": list_of(language()),
        "description": PROSE,
        "annotation": PROSE,
    }
    return either(LINE, record(known, name=LINE))


def ablations() -> Kind:
    """Names of ablations; `all` stands for each of the family, and on a command line so does 1."""
    named = list_of(NAME)
    every: tuple[str, ...] = ("all",)
    meant: dict[str | int, tuple[str, ...]] = {"all": every, "none": (), 1: every, 0: ()}
    allowed = "all or 1, none or 0, or a list of names of the family's ablations"

    def parse(value: Any) -> tuple[str, ...]:
        if isinstance(value, list):
            return tuple(named.parse(value))
        if isinstance(value, (str, int)) and value in meant:
            return meant[value]
        hint = f"write [{value}]" if isinstance(value, str) else ""
        refuse(value, allowed, hint)

    return Kind(allowed, parse, {"anyOf": [{"enum": list(meant)}, dict(named.json)]})


def spell_hardware(value: str) -> str:
    count, device = units.parse_hardware(value)
    return f"{count}x{device}"
