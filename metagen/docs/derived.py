"""Figures that follow from other facts, each with the formula that it comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metagen import families
from metagen.docs.facts import FILES, SOURCES, SPEC, Fact, Facts
from metagen.docs.kinds import KINDS
from metagen.families import levers
from metagen.families.family import Family

_CONSTRAINTS = FILES["constraints"]
_RESULTS = FILES["results"]


def _count(verdict: str) -> Callable[[Facts], Fact]:
    name = verdict.replace(" ", "_")

    def count(facts: Facts) -> Fact:
        number = len(facts.each("constraints", verdict=verdict))
        unit = "constraint" if number == 1 else "constraints"
        return Fact(f"derived.{name}", number, unit, f"{_CONSTRAINTS}: entries with this verdict")

    return count


def design(facts: Facts) -> tuple[Family, dict[str, Any]]:
    """Return the family, and the model's dimensions with its formats of deployment."""
    family = families.load(families.FAMILIES[facts.get("arch.family").value])
    formats = {name: facts.get(f"arch.infer.{name}").value for name in family.formats}
    return family, {**facts.get("arch.model").value, **formats}


def _kv_cache(facts: Facts) -> Fact:
    """Return the cache of one sequence at the full context, in its format of deployment."""
    family, everything = design(facts)
    source = f"{FILES['arch']}: model, infer"
    return Fact("derived.kv_cache", family.load(everything).cache, "bytes", source)


def _attention_pattern(facts: Facts) -> Fact:
    text = levers.pattern(facts.get("arch.model").value)
    return Fact("derived.attention_pattern", text, "", f"{FILES['arch']}: model")


def _queries_per_kv_head(facts: Facts) -> Fact:
    heads, shared = (facts.get(f"arch.model.{name}").value for name in ("n_heads", "n_kv_heads"))
    source = f"{FILES['arch']}: n_heads / n_kv_heads"
    return Fact("derived.queries_per_kv_head", heads // shared, "", source)


def _proxy_share(facts: Facts) -> Fact:
    total, proxy = (facts.get(f"params.{name}").value for name in ("total", "proxy_total"))
    return Fact(
        "derived.proxy_share", proxy / total, "share", f"{FILES['params']}: proxy_total / total"
    )


def _final_validation_loss(facts: Facts) -> Fact:
    losses = [row["val_loss"] for row in facts.get("curve").value if row["val_loss"] is not None]
    source = f"{FILES['curve']}: last val_loss"
    return Fact(
        "derived.final_validation_loss", losses[-1] if losses else None, "nat/token", source
    )


def _not_run(facts: Facts) -> Fact:
    rows = facts.get("results").value
    names = tuple(row["benchmark"] for row in rows if row["status"] == "not run")
    return Fact("derived.not_run", names, "", f"{_RESULTS}: entries that were not run")


def _kind(facts: Facts) -> Fact:
    family = facts.get("arch.family").value
    return Fact("derived.kind", KINDS[family].name, "", f"{FILES['arch']}: family")


def _unknown_components(facts: Facts) -> Fact:
    """Components that the spec names and whose type the family does not have."""
    family = families.load(families.FAMILIES[facts.get("arch.family").value])
    declared = facts.get("spec.architecture.components").value or ()
    names = tuple(families.unknown_components(family, declared))
    return Fact("derived.unknown_components", names, "", f"{SPEC}: architecture.components")


def _edited(facts: Facts) -> Fact:
    names = tuple(path for path in SOURCES if facts.edited(path))
    return Fact("derived.edited", names, "", "manifest.json: edited")


DERIVED: dict[str, Callable[[Facts], Fact]] = {
    "met": _count("met"),
    "violated": _count("violated"),
    "not_declared": _count("not declared"),
    "kv_cache": _kv_cache,
    "attention_pattern": _attention_pattern,
    "queries_per_kv_head": _queries_per_kv_head,
    "proxy_share": _proxy_share,
    "final_validation_loss": _final_validation_loss,
    "not_run": _not_run,
    "kind": _kind,
    "unknown_components": _unknown_components,
    "edited": _edited,
}
