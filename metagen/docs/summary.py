"""`docs/summary.json`: the content of the table that the terminal shows after a build."""

from __future__ import annotations

from typing import Any

from metagen import paths
from metagen.docs import scores, statement
from metagen.docs.facts import Facts
from metagen.docs.sources import inputs
from metagen.docs.wording import SPACE
from metagen.files import json_bytes
from metagen.measure.comparison import BEATS
from metagen.measure.results import NOT_MEASURED, has_result
from metagen.work import Desk, Recipe


def summary(desk: Desk) -> dict[str, bytes]:
    """Return `docs/summary.json`; every figure in it is also in another file of the package."""
    facts = Facts(desk)
    content = {
        "name": facts.get("spec.name").value,
        "spec": paths.slug(facts.get("spec.name").value),
        "seed": facts.get("spec.reproducibility.seed").value,
        "parameters": {
            "total": facts.get("params.total").value,
            "budget_share": facts.get("params.budget.share").value,
            "proxy": facts.get("params.proxy_total").value,
        },
        "trained": _trained(facts),
        "memory": _memory(facts),
        "constraints": _constraints(facts),
        "benchmarks": [_benchmark(row) for row in _told(facts.get("results").value)],
    }
    return {"docs/summary.json": json_bytes(content)}


def _trained(facts: Facts) -> dict[str, Any] | None:
    """Return the status of the trained model and its checkpoint; None without one."""
    if not facts.is_trained():
        return None
    planned = facts.get("arch.train.steps").value
    kept = {key: facts.get(f"trained.checkpoint.{key}").value for key in ("step", "sha256")}
    return {"status": facts.get("trained.status").value, **kept, "planned": planned}


def _memory(facts: Facts) -> dict[str, Any]:
    rows = facts.get("constraints").value
    row: dict[str, Any] = next((r for r in rows if r["constraint"] == "memory_budget"), {})
    return {key: row.get(key) for key in ("required", "computed", "unit", "verdict")}


def _constraints(facts: Facts) -> dict[str, list[dict[str, Any]]]:
    rows = facts.get("constraints").value
    return {
        verdict.replace(" ", "_"): [_judged(row) for row in rows if row["verdict"] == verdict]
        for verdict in ("met", "violated", "open", "bounded", "not declared", "figure")
    }


def _judged(row: dict[str, Any]) -> dict[str, Any]:
    entries = ("constraint", "required", "limit", "relation", "computed", "low", "high")
    said = statement.sentence(row).replace(SPACE, " ")
    rest = {key: row[key] for key in ("unit", "margin", "nearest")}
    return {**{key: row[key] for key in entries}, **rest, "sentence": said}


def _told(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows that a summary tells: beside a result, no proxy that was not measured."""
    known = any(map(has_result, rows))
    return [row for row in rows if not (known and row["status"].startswith(NOT_MEASURED))]


def _benchmark(row: dict[str, Any]) -> dict[str, Any]:
    identity = ("benchmark", "metric", "title", "unit", "higher_is_better")
    figures = ("value", "seeds", "spread", "interval", "baselines", "outcomes")
    entries = (*identity, *figures, "status", "size", "origin")
    beats = [name for name, outcome in row["outcomes"].items() if outcome == BEATS]
    return {**{key: row[key] for key in entries}, "beats": beats, "sentence": scores.sentence(row)}


RECIPES = (
    Recipe(
        "docs:summary",
        summary,
        inputs("arch", "params", "constraints", "results", "trained"),
        ("docs/summary.json",),
        "collect the content of the summary table",
    ),
)
