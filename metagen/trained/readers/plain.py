"""Results in MetaGen's own plain form, for what no other reader takes: docs/results.md.

{"version": 1, "checkpoint_sha256": "...", "harness": {"name": "..."},
 "results": [{"benchmark": "MMLU", "metric": "acc", "value": 0.25, "n": 14042}]}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from metagen.spec.findings import shown
from metagen.trained.door import refuse
from metagen.trained.found import REMOVE, Found, Model, check_count, check_digest, check_model

NAME = "plain JSON"
VERSION = 1
FORM = "write it as docs/results.md describes"
_FILE = {"version", "results", "checkpoint_sha256", "model", "parameters", "harness"}
_RESULT = {
    *("benchmark", "metric", "value", "n", "standard_error", "higher_is_better", "unit"),
    *("dataset", "dataset_sha256", "split", "task_version", "num_fewshot", "template_sha256"),
    "command",
}
_HARNESS = {"name", "version", "commit"}


def fits(content: Any) -> bool:
    """Return whether a file has the plain form."""
    return isinstance(content, dict) and isinstance(content.get("results"), list)


def read(path: str, content: Any, model: Model) -> Iterator[Found]:
    """Yield the results; an unknown field is refused, since it may be a misspelled one."""
    if content.get("version") != VERSION:
        sentence = f"The version is {shown(content.get('version'))}; allowed: {VERSION}."
        refuse(sentence, f"{path}#/version", FORM)
    _only(path, content, _FILE)
    harness = content.get("harness", {"name": "not stated"})
    _only(f"{path}#/harness", harness, _HARNESS)
    check_model(f"{path}#/model", content.get("model"), model)
    check_count(f"{path}#/parameters", content.get("parameters"), model)
    place = f"{path}#/checkpoint_sha256"
    bound = check_digest(place, content.get("checkpoint_sha256"), model)
    for number, result in enumerate(content["results"]):
        place = f"{path}#/results/{number}"
        _only(place, result, _RESULT)
        yield _found(place, result, harness, bound)


def _only(place: str, value: Any, allowed: set[str]) -> None:
    if not isinstance(value, dict):
        refuse(f"This is {shown(value)}, and must be an object.", place, FORM)
    unknown = next((name for name in value if name not in allowed), None)
    if unknown is not None:
        sentence = f"{shown(unknown)} is no field here; allowed: {', '.join(sorted(allowed))}."
        refuse(sentence, place, FORM)


def _found(place: str, result: Mapping[str, Any], harness: Mapping[str, Any], bound: bool) -> Found:
    for name in ("benchmark", "metric", "value"):
        if name not in result:
            refuse(f"The field {name} is missing.", place, REMOVE)
    unit, command = result.get("unit"), result.get("command")
    more = {"unit": unit} if unit is not None else {}
    kept = ("task_version", "num_fewshot", "template_sha256")
    return Found(
        place=place,
        task=result["benchmark"],
        metric=result["metric"],
        value=result["value"],
        n=result.get("n"),
        standard_error=result.get("standard_error"),
        higher=result.get("higher_is_better"),
        dataset=result.get("dataset"),
        split=result.get("split"),
        sha256=result.get("dataset_sha256"),
        bound=bound,
        harness={
            **harness,
            "task": result["benchmark"],
            **{name: result.get(name) for name in kept},
        },
        more=more if command is None else {**more, "command": command},
    )
