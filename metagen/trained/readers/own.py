"""Scores of a package's own eval.py: `scores.json` of a training folder, or the report it prints.

An entry of scores.json has the digest of the weights that were scored. Entries of earlier
checkpoints of the run stay in the file, and are no results of the bound one. The report alone names
no weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from metagen.measure import comparison
from metagen.measure.results import (
    COMMAND,
    DIGEST,
    FULL,
    LINE,
    NAME,
    NUMBER,
    PAIR,
    PROXY,
    STEPS_UNIT,
    map_of,
    or_null,
)
from metagen.spec.findings import shown
from metagen.spec.kinds import Kind, choice, flag, whole
from metagen.trained.door import flaws, refuse, settle
from metagen.trained.found import RERUN, Found, Model

TOOL, EDITED = "eval.py", "eval.py, edited"
VERSION = 1
_ANY = Kind("any value", lambda value: value)
_ENTRY = {
    "command": COMMAND,
    "size": choice(FULL, PROXY),
    "checkpoint": _ANY,
    "code": map_of(DIGEST, LINE),
    "report": _ANY,
}
_CHECKPOINT = {"sha256": DIGEST, "step": or_null(whole(1, 10**15))}
_REPORT = {"dataset": NAME, "sha256": or_null(DIGEST), "n": or_null(whole(1, 10**15))}
_METRIC = {
    "metric": NAME,
    "title": NAME,
    "unit": NAME,
    "higher_is_better": or_null(flag()),
    "value": or_null(NUMBER),
    "baselines": map_of(NUMBER, NAME),
}
# Older scripts leave these out.
_OPTIONAL = {
    "interval": or_null(PAIR),
    "differences": or_null(map_of(or_null(PAIR), NAME)),
    "standard_error": or_null(NUMBER),
}
_DATA = ("dataset", "sha256", "split", "n", "n_unit")
_KEPT = (
    *("title", "unit", "baselines", "seeds", "spread", "interval", "interval_method"),
    *("interval_unit", "interval_n", "differences", "outcomes"),
)


def fits(content: Any) -> bool:
    """Return whether a file is a report of eval.py, or a scores.json."""
    return isinstance(content, dict) and (
        isinstance(content.get("scores"), list) or {"metrics", "dataset"} <= content.keys()
    )


def read(path: str, content: Any, model: Model) -> Iterator[Found]:
    """Yield the results of the bound checkpoint."""
    if "scores" not in content:
        yield from _report(path, "", content, model, None)
        return
    for number, entry in entries(path, content, model):
        place = f"#/scores/{number}/report"
        other = any(model.code.get(name) != sha256 for name, sha256 in entry["code"].items())
        for found in _report(path, place, entry["report"], model, entry["command"]):
            yield replace(found, harness={"name": EDITED}) if other else found


def entries(path: str, content: Any, model: Model) -> list[tuple[int, Mapping[str, Any]]]:
    """Return the entries of scores.json that are of the bound checkpoint, with their positions.

    Raises:
        TaskError: An entry is malformed, is of the same step and other weights, or all are stale.
    """
    if content.get("version") != VERSION:
        sentence = f"The version is {shown(content.get('version'))}; allowed: {VERSION}."
        refuse(sentence, f"{path}#/version")
    scores = content["scores"]
    for number, entry in enumerate(scores):
        keys = ("scores", str(number))
        settle(flaws(path, keys, entry, _ENTRY))
        settle(flaws(path, (*keys, "checkpoint"), entry["checkpoint"], _CHECKPOINT))
    return [(n, entry) for n, entry in enumerate(scores) if _is_of(path, n, scores, model)]


def _is_of(path: str, number: int, scores: list[Any], model: Model) -> bool:
    """Return whether an entry is of the bound checkpoint, and not of an earlier one."""
    entry = scores[number]
    sha256, step = entry["checkpoint"]["sha256"], entry["checkpoint"]["step"]
    place = f"{path}#/scores/{number}/checkpoint"
    if model.sha256 is None:
        return False
    if sha256 == model.sha256:
        if entry["size"] != FULL or step not in (None, model.step):
            said = f"{entry['size']} size, step {shown(step)}"
            refuse(f"These weights are the full model's of step {model.step}, not {said}.", place)
        return True
    earlier = step is not None and model.step is not None and step < model.step
    others = any(each["checkpoint"]["sha256"] == model.sha256 for each in scores)
    if not earlier or not others:
        sentence = f"This score is of the weights {sha256}, and the bound ones are {model.sha256}."
        refuse(sentence, place, f"{RERUN}: python eval.py --size full")
    return False


def _report(path: str, at: str, report: Any, model: Model, command: str | None) -> Iterator[Found]:
    keys = tuple(at.split("/")[1:])
    settle(flaws(path, keys, report, _REPORT))
    metrics = report.get("metrics")
    if not isinstance(metrics, list) or not metrics:
        refuse("This must be a list of metrics.", f"{path}{at or '#'}/metrics")
    for number, metric in enumerate(metrics):
        names = (*keys, "metrics", str(number))
        settle(flaws(path, names, metric, _METRIC))
        settle(flaws(path, names, {**dict.fromkeys(_OPTIONAL), **metric}, _OPTIONAL))
    twice = [metric["metric"] for metric in metrics]
    if len(set(twice)) < len(twice):
        refuse("A metric is listed twice.", f"{path}{at or '#'}/metrics")
    scored = [metric for metric in metrics if metric["value"] is not None]
    for entry in comparison.rows({model.seed or 0: {"metrics": scored}}):
        number = twice.index(entry["metric"])
        place = f"{path}{at or '#'}/metrics/{number}"
        yield _found(place, entry, metrics[number], report, command)


def _found(
    place: str,
    entry: Mapping[str, Any],
    metric: Mapping[str, Any],
    report: Mapping[str, Any],
    command: str | None,
) -> Found:
    """Return the result of a metric; only scores.json, which has its command, is bound."""
    bound = command is not None
    # A figure that is no score, such as the distance to the nearest training image, says so.
    more = {name: entry[name] for name in (*_KEPT, "status", "benchmark") if name in entry}
    unit = report.get("steps_unit") or STEPS_UNIT
    # A metric may have data of its own, such as one of several series.
    data = {**{name: report.get(name) for name in _DATA}, **metric}
    more |= {"n_unit": data["n_unit"], "command": command, "steps_unit": unit}
    return Found(
        place=place,
        task=TOOL,
        metric=entry["metric"],
        value=entry["value"],
        n=data["n"],
        standard_error=metric.get("standard_error"),
        higher=entry["higher_is_better"],
        dataset=data["dataset"],
        split=data["split"],
        sha256=data["sha256"],
        bound=bound,
        harness={"name": TOOL},
        more=more if bound else {**more, "steps_unit": None},
    )
