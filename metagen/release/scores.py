"""`.eval_results/`: results on data sets of the Hub, in the form of its leaderboards.

The form is that of `eval_results.yaml` in huggingface/hub-docs (commit 259eaee), as the class
`EvalResultEntry` of huggingface_hub 2.4 reads it. Results on other data are in the card's header.
"""

from __future__ import annotations

import re
from typing import Any

from metagen.docs import escape
from metagen.files import yaml_bytes
from metagen.measure.results import FULL_RESULTS
from metagen.work import Desk, Output

PATH = "release/.eval_results/results.yaml"
_ON_THE_HUB = re.compile(r"[\w-]+/[\w.-]+", re.ASCII)
_BOUND = "the file of results names these weights"
_STATED = "stated, not bound: the file of results does not name the weights that it is of"


def eval_results(desk: Desk) -> dict[str, Output]:
    """Return the entries of all results on data sets of the Hub; the list may be empty."""
    rows = [desk.entry(FULL_RESULTS, place) for place in desk.names(FULL_RESULTS)]
    return {PATH: yaml_bytes(entries(rows))}


def entries(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return an entry for each benchmark: a leaderboard takes one value, that of the first metric.

    Args:
        rows: Rows of `trained/results.json`.
    """
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        if row["value"] is not None and _ON_THE_HUB.fullmatch(row["dataset"] or ""):
            first.setdefault((row["dataset"], row["benchmark"]), row)
    return [_entry(row) for row in first.values()]


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    dataset = {"id": row["dataset"], "task_id": escape.plain(row["benchmark"])}
    return {"dataset": dataset, "value": row["value"], "notes": _notes(row)}


def _notes(row: dict[str, Any]) -> str:
    """Return how the value came about: metric, samples, harness, and whether it is bound."""
    harness = row.get("harness") or {}
    name = " ".join(str(harness[key]) for key in ("name", "version") if harness.get(key))
    shots = harness.get("num_fewshot")
    parts = (
        row["metric"],
        f"split {row['split']}" if row.get("split") else "",
        f"n = {row['n']}" if row.get("n") else "",
        f"{shots}-shot" if shots is not None else "",
        name,
        _BOUND if row.get("bound") else _STATED,
    )
    return escape.plain("; ".join(part for part in parts if part))
