"""The trials of a study as rows, and those that no other trial beats in everything: the front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metagen.search import study
from metagen.search.plan import Plan
from metagen.search.space import Candidate
from metagen.search.study import Frozen, Study

Row = dict[str, Any]
STATUSES = {study.ENDED: "ended early", study.FAILED: "failed"}


def rows(plan: Plan, trials: Study) -> list[Row]:
    """Return a row for each trial that was run, numbered from 1 in order.

    `front` says whether it is on the front, and `own` whether it is the package's own design.
    `proxy` and `full` are the dimensions of both models.
    A row of the front has `keys`, which give it as a spec.
    """
    found = [_row(plan, number, each) for number, each in enumerate(trials.finished(), 1)]
    names = plan.settings.objectives
    best = pareto([[row["values"][n] for n in names] for row in found if row["values"]])
    kept = {str(values) for values in best}
    seen: set[str] = set()
    for row in found:
        values = str([row["values"][name] for name in names]) if row["values"] else ""
        # Of trials that are equal in everything, the first stands for all.
        row["front"] = values in kept and values not in seen
        if row["front"]:
            candidate = plan.space.candidate(row["point"])
            assert isinstance(candidate, Candidate)
            row["keys"] = plan.space.keys(candidate, row["point"])
        seen.add(values)
    return found


def pareto(values: Sequence[Sequence[float]]) -> list[Sequence[float]]:
    """Return the vectors that no other one beats: not above in any, and below in one."""
    return [
        each
        for each in values
        if not any(
            other != each and all(a <= b for a, b in zip(other, each, strict=True))
            for other in values
        )
    ]


def _row(plan: Plan, number: int, trial: Frozen) -> Row:
    noted, names = trial.user_attrs, plan.settings.objectives
    candidate = plan.space.candidate(noted[study.POINT])
    assert isinstance(candidate, Candidate)
    status = next((words for name, words in STATUSES.items() if name in noted), "done")
    return {
        "trial": number,
        "status": status,
        "own": noted[study.POINT] == plan.space.plain,
        "point": noted[study.POINT],
        "values": dict(zip(names, trial.values, strict=True)) if trial.values else None,
        "proxy": candidate.small.dims,
        "full": candidate.design.dims,
        "parameters": candidate.design.parameters,
        **noted.get(study.RESULT, {"curve": noted.get(study.ENDED, [])}),
    }
