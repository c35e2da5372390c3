"""`docs/uses.json`: what a model of this family and task is for, and how it is known to fail.

A task states its uses in `templates/tasks/<task>/uses.yaml`, with the entries of `USES`; a family
states how its architecture fails in `templates/families/<family>/failures.yaml`, a list. A risk
and a failure have a sentence, `says`, and the keys of the works that show it, `cites`.
"""

from __future__ import annotations

from typing import Any

from metagen import entries, families
from metagen.docs import references
from metagen.families.family import Family
from metagen.files import json_bytes
from metagen.work import Desk, Recipe

TARGET = "docs/uses.json"
USES = {
    "audience": "whom it is for, to continue `for`",
    "direct": "what the trained model does as it is, in a sentence or two",
    "downstream": "what it may become part of, or be fine-tuned for",
    "out_of_scope": "what it is not for, each in a sentence",
    "risks": "what may go wrong in use, each with its works",
    "recommendation": "what to do before use",
}


def uses(desk: Desk) -> dict[str, bytes]:
    """Return `docs/uses.json`."""
    return {TARGET: json_bytes(read(desk, families.of_package(desk)))}


def read(desk: Desk, family: Family) -> dict[str, Any]:
    """Return the uses of a family's task, with `failures` and with works in place of keys."""
    bibliography = desk.source(references.BIBLIOGRAPHY).decode()
    of_task = _rows(desk, family.task.source("uses.yaml"))
    of_family = _rows(desk, f"{family.texts}/failures.yaml")

    def cited(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        works = (references.resolved(bibliography, row.get("cites", ())) for row in rows)
        return [
            # The works go before the full stop.
            {"says": row["says"].rstrip("."), "references": each}
            for row, each in zip(rows, works, strict=True)
        ]

    return {**of_task, "risks": cited(of_task["risks"]), "failures": cited(of_family)}


def _rows(desk: Desk, name: str) -> Any:
    return entries.parse(name, desk.source(name))


RECIPES = (
    Recipe(
        "docs:uses",
        uses,
        (families.ARCHITECTURE,),
        (TARGET,),
        "say what the model is for, and how it fails",
    ),
)
