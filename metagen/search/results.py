"""What a study leaves in its folder: the front as data, table and figure, and search.yaml.

============  =======================================================
trials.json   every trial, with its point, its values and its curve
front.csv     the trials of the front, a line each
front.svg     the same as a figure
README.md     the front and what each choice bought, as tables
search.yaml   what `metagen synth SPEC --search` takes
============  =======================================================
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from metagen import files
from metagen.engine.cache import Cache
from metagen.errors import TaskError
from metagen.search import figure, objectives
from metagen.search.bought import ALL, UNKNOWN, Bought, bought
from metagen.search.front import Row, rows
from metagen.search.plan import Plan
from metagen.search.space import CONFIG, TRAIN
from metagen.search.study import Study
from metagen.search.worker import Say

SEARCH, TRIALS, FRONT, FIGURE, REPORT = (
    *("search.yaml", "trials.json", "front.csv", "front.svg"),
    "README.md",
)
HEAD = """\
# Written by `metagen search`. `metagen synth SPEC --search FILE` sets `keys` in the spec, and gives
# `evidence` as their reasons. To take another trial of the front, give its keys.
"""


def write(plan: Plan, study: Study, cache: Cache, say: Say) -> list[Row]:
    """Write the results of a study that has ended, and return its trials.

    Raises:
        TaskError: No training reached its end.
    """
    found = rows(plan, study)
    front = [row for row in found if row["front"]]
    if not front:
        raise TaskError("No trial of the study was trained to its end.")
    chosen = min(front, key=lambda row: row["values"][objectives.HELD_OUT])
    gains = bought(plan, chosen["point"], cache, say)
    names = plan.settings.objectives
    contents = {
        TRIALS: files.json_bytes(found),
        FRONT: _table(front, names),
        FIGURE: figure.svg(plan.spec, found, names, chosen["trial"]),
        REPORT: report(plan, found, chosen, gains).encode(),
        SEARCH: HEAD.encode() + files.yaml_bytes(search(plan, found, chosen, gains)),
    }
    for name, data in contents.items():
        files.write_atomic(plan.folder / name, data, plan.folder / "tmp")
    return found


def _table(front: Sequence[Row], names: Sequence[str]) -> bytes:
    """Return the front as CSV: values, the point, and the dimensions of the full design."""
    points, dims = front[0]["point"], front[0]["full"]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["trial", *names, *points, *(f"full.{name}" for name in dims)])
    for row in front:
        values = [row["values"][name] for name in names]
        full = [row["full"].get(name, "") for name in dims]
        writer.writerow([row["trial"], *values, *row["point"].values(), *full])
    return stream.getvalue().encode()


def search(
    plan: Plan, found: Sequence[Row], chosen: Row, gains: Sequence[Bought]
) -> dict[str, Any]:
    """Return the content of search.yaml."""
    front = [row for row in found if row["front"]]
    settings = {**asdict(plan.settings), "objectives": list(plan.settings.objectives)}
    return {
        "study": {"name": plan.name, "spec": plan.spec.key("name"), **settings},
        "chosen": chosen["trial"],
        "keys": chosen["keys"],
        "evidence": evidence(plan, len(found), chosen["keys"], gains),
        "bought": [each.content() for each in gains],
        "front": [{n: row[n] for n in ("trial", "values", "point", "keys")} for row in front],
    }


def evidence(
    plan: Plan, trials: int, keys: Mapping[str, Any], gains: Sequence[Bought]
) -> dict[str, str]:
    """Return the reason of each decision that the search makes, by its name in `decisions`."""
    by_choice = {each.choice: each for each in gains}
    whole = _sentence(by_choice.get(ALL), "the choices of the search together")
    head = f"search of {trials:,} trials of {plan.settings.steps:,} steps at proxy size"
    reasons = {}
    for key in keys:
        name = key.rpartition(".")[2]
        own = by_choice.get(f"{TRAIN}{name}") if key.startswith(CONFIG) else None
        alone = _sentence(own, "this choice alone")
        reasons[name] = "; ".join(filter(None, (head, alone or whole)))
    return reasons


def _sentence(gain: Bought | None, what: str) -> str:
    if gain is None:
        return ""
    number = f"{gain.difference:+.4g}"
    if gain.interval is None:
        return f"{what}: {number} of validation loss, one seed"
    low, high = gain.interval
    text = f"{what}: {number} of validation loss ({low:+.4g} to {high:+.4g}, {gain.seeds} seeds)"
    return f"{text}, which may be chance" if gain.verdict == UNKNOWN else text


def report(plan: Plan, found: Sequence[Row], chosen: Row, gains: Sequence[Bought]) -> str:
    """Return the report of a study as Markdown."""
    names, settings = plan.settings.objectives, plan.settings
    front = [row for row in found if row["front"]]
    alt = figure.alternative(list(found), names, chosen["trial"])
    ended = sum(row["status"] == "ended early" for row in found)
    lines = [
        "# Search",
        "",
        f"{len(found)} trials of {settings.steps:,} steps, sampler {settings.sampler}, seed "
        f"{settings.seed}; ended early by their learning curves: {ended}.",
        "",
        f"![{alt}]({FIGURE})",
        "",
        *(f"- {name}: {objectives.HOW[name]}" for name in names),
        "",
        "## Front",
        "",
        *_markdown(["trial", *names, "choices"], [_shown(plan, row) for row in front]),
        "",
        "## What each choice bought",
        "",
        *_gains(gains),
    ]
    return "\n".join(lines) + "\n"


def _shown(plan: Plan, row: Row) -> list[str]:
    plain, point = plan.space.plain, row["point"]
    changed = [f"{n} {_power(v)}" for n, v in point.items() if v != plain[n]]
    values = [objectives.shown(name, row["values"][name]) for name in plan.settings.objectives]
    return [str(row["trial"]), *values, ", ".join(changed) or "the package's own design"]


def _power(value: float | str) -> str:
    return value if isinstance(value, str) else f"x {2**value:.3g}"


def _gains(gains: Sequence[Bought]) -> list[str]:
    if not gains:
        return ["The package's own design is the best, or no new seeds were asked for."]
    head = ["choice", "value", "difference of the loss", "95 % interval", "seeds", "verdict"]
    table = [
        [
            each.choice,
            "" if each.choice == ALL else _power(each.value),
            f"{each.difference:+.4g}",
            "{:+.4g} to {:+.4g}".format(*each.interval) if each.interval else "one seed",
            str(each.seeds),
            each.verdict,
        ]
        for each in gains
    ]
    return _markdown(head, table)


def _markdown(head: Sequence[str], table: Sequence[Sequence[str]]) -> list[str]:
    """Return a table; names of choices come from metagen, so that no cell needs an escape."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *table)]
