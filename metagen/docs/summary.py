"""`docs/summary.json`: the content of the table that the terminal shows after a build."""

from __future__ import annotations

from typing import Any

from metagen import paths
from metagen.docs.facts import Facts, inputs
from metagen.files import json_bytes
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
        "memory": _memory(facts),
        "constraints": _constraints(facts),
        "benchmarks": [_benchmark(row) for row in facts.get("results").value],
    }
    return {"docs/summary.json": json_bytes(content)}


def _memory(facts: Facts) -> dict[str, Any]:
    rows = facts.get("constraints").value
    row: dict[str, Any] = next((r for r in rows if r["constraint"] == "memory_budget"), {})
    return {key: row.get(key) for key in ("required", "computed", "unit", "verdict")}


def _constraints(facts: Facts) -> dict[str, list[dict[str, Any]]]:
    rows = facts.get("constraints").value
    entries = ("constraint", "required", "computed", "unit", "margin", "nearest")
    return {
        verdict.replace(" ", "_"): [
            {key: row[key] for key in entries} for row in rows if row["verdict"] == verdict
        ]
        for verdict in ("met", "violated", "not declared")
    }


def _benchmark(row: dict[str, Any]) -> dict[str, Any]:
    identity = ("benchmark", "metric", "title", "unit", "higher_is_better")
    entries = (*identity, "value", "baselines", "status")
    return {**{key: row[key] for key in entries}, "beats": beaten(row)}


def beaten(row: dict[str, Any]) -> list[str]:
    """Return the names of the baselines that a measured value beats."""
    value, sign = row["value"], 1 if row["higher_is_better"] else -1
    if row["status"] != "measured":
        return []
    return [name for name, other in row["baselines"].items() if sign * (value - other) > 0]


RECIPES = (
    Recipe(
        "docs:summary",
        summary,
        inputs("params", "constraints", "results"),
        ("docs/summary.json",),
        "collect the content of the summary table",
    ),
)
