"""Figures that follow from other facts, each with the formula that it comes from."""

from __future__ import annotations

from collections.abc import Callable

from metagen import families
from metagen.docs.facts import FILES, SPEC, Fact, Facts
from metagen.docs.kinds import KINDS

_CONSTRAINTS = FILES["constraints"]
_RESULTS = FILES["results"]
_BYTES_PER_VALUE = 2


def _count(verdict: str) -> Callable[[Facts], Fact]:
    name = verdict.replace(" ", "_")

    def count(facts: Facts) -> Fact:
        number = len(facts.each("constraints", verdict=verdict))
        unit = "constraint" if number == 1 else "constraints"
        return Fact(f"derived.{name}", number, unit, f"{_CONSTRAINTS}: entries with this verdict")

    return count


def _kv_cache_per_token(facts: Facts) -> Fact:
    """2 (keys and values) x n_layers x n_kv_heads x head_dim values of 16 bits."""
    layers, heads, size = (
        facts.get(f"arch.model.{name}").value for name in ("n_layers", "n_kv_heads", "head_dim")
    )
    value = 2 * layers * heads * size * _BYTES_PER_VALUE
    formula = "2 x n_layers x n_kv_heads x head_dim x 2 bytes"
    return Fact("derived.kv_cache_per_token", value, "bytes", f"{FILES['arch']}: {formula}")


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


def _bits_per_value(facts: Facts) -> Fact:
    return Fact("derived.bits_per_value", 8 * _BYTES_PER_VALUE, "", "")


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


DERIVED: dict[str, Callable[[Facts], Fact]] = {
    "met": _count("met"),
    "violated": _count("violated"),
    "not_declared": _count("not declared"),
    "kv_cache_per_token": _kv_cache_per_token,
    "queries_per_kv_head": _queries_per_kv_head,
    "proxy_share": _proxy_share,
    "final_validation_loss": _final_validation_loss,
    "bits_per_value": _bits_per_value,
    "not_run": _not_run,
    "kind": _kind,
    "unknown_components": _unknown_components,
}
