"""Figures that follow from other facts, each with the formula that it comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from metagen import families
from metagen.docs.facts import FILES, SOURCES, SPEC, Fact, Facts, MissingFact
from metagen.families.family import Family, Words

_CONSTRAINTS = FILES["constraints"]
_RESULTS = FILES["results"]
WORDS = tuple(field.name for field in dataclasses.fields(Words))


def _count(verdict: str) -> Callable[[Facts], Fact]:
    name = verdict.replace(" ", "_")

    def count(facts: Facts) -> Fact:
        number = len(facts.each("constraints", verdict=verdict))
        unit = "constraint" if number == 1 else "constraints"
        return Fact(f"derived.{name}", number, unit, f"{_CONSTRAINTS}: entries with this verdict")

    return count


def design(facts: Facts) -> tuple[Family, dict[str, Any]]:
    """Return the family, and the model's dimensions with its formats of deployment."""
    family = facts.family()
    formats = {name: facts.get(f"arch.infer.{name}").value for name in family.formats}
    return family, {**facts.get("arch.model").value, **formats}


def _of_the_family(name: str) -> Callable[[Facts], Fact]:
    """Return what finds a fact that only the family's own documents print."""

    def fact(facts: Facts) -> Fact:
        family, everything = design(facts)
        figures = family.figures(everything)
        if name not in figures:
            raise MissingFact(f"there is no derived fact `{name}`")
        value, unit = figures[name]
        return Fact(f"derived.{name}", value, unit, f"{FILES['arch']}: model, infer")

    return fact


def _word(name: str) -> Callable[[Facts], Fact]:
    """Return what finds a word that documents call something by in this family."""

    def fact(facts: Facts) -> Fact:
        value = getattr(facts.family().words, name)
        return Fact(f"derived.{name}", value, "", f"{FILES['arch']}: family")

    return fact


def _usage(facts: Facts) -> Fact:
    """Return the command that shows what `infer.py` does."""
    command = f"python infer.py {facts.family().words.usage}"
    return Fact("derived.usage", command, "", f"{FILES['arch']}: family")


def _context(facts: Facts) -> Fact:
    """Return the context window, None for a family without one."""
    family, everything = design(facts)
    source = f"{FILES['arch']}: model"
    return Fact("derived.context", family.context(everything), "tokens", source)


def _proxy_share(facts: Facts) -> Fact:
    total, proxy = (facts.get(f"params.{name}").value for name in ("total", "proxy_total"))
    return Fact(
        "derived.proxy_share", proxy / total, "share", f"{FILES['params']}: proxy_total / total"
    )


def _final_validation_loss(facts: Facts) -> Fact:
    losses = [row["val_loss"] for row in facts.get("curve").value if row["val_loss"] is not None]
    source = f"{FILES['curve']}: last val_loss"
    unit = facts.family().words.loss_unit
    return Fact("derived.final_validation_loss", losses[-1] if losses else None, unit, source)


def _not_run(facts: Facts) -> Fact:
    rows = facts.get("results").value
    names = tuple(row["benchmark"] for row in rows if row["status"] == "not run")
    return Fact("derived.not_run", names, "", f"{_RESULTS}: entries that were not run")


def _unknown_components(facts: Facts) -> Fact:
    """Components that the spec names and whose type the family does not have."""
    family = facts.family()
    declared = facts.get("spec.architecture.components").value or ()
    names = tuple(families.unknown_components(family, declared))
    return Fact("derived.unknown_components", names, "", f"{SPEC}: architecture.components")


def _edited(facts: Facts) -> Fact:
    names = tuple(path for path in SOURCES if facts.edited(path))
    return Fact("derived.edited", names, "", "manifest.json: edited")


def derived(name: str) -> Callable[[Facts], Fact]:
    """Return what computes a fact, from files of every package or by the family itself."""
    return DERIVED.get(name) or _of_the_family(name)


DERIVED: dict[str, Callable[[Facts], Fact]] = {
    "met": _count("met"),
    "violated": _count("violated"),
    "not_declared": _count("not declared"),
    "context": _context,
    "proxy_share": _proxy_share,
    "final_validation_loss": _final_validation_loss,
    "not_run": _not_run,
    **{name: _word(name) for name in WORDS},
    "usage": _usage,
    "unknown_components": _unknown_components,
    "edited": _edited,
}
