"""Results of Inspect: a log as JSON, of `inspect eval --log-format json` or `inspect log dump`.

Format: UKGovernmentBEIS/inspect_ai, src/inspect_ai/log/_log.py, version 2 of the log: `eval` says
what was run, `results.scores` has the metrics of each scorer. The file names the model; it has no
digest of the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from metagen.spec.findings import shown
from metagen.trained.door import refuse
from metagen.trained.found import (
    ELSEWHERE,
    REMOVE,
    RERUN,
    Found,
    Model,
    check_model,
    check_time,
)

NAME = "inspect"
_ERRORS = ("stderr", "std", "var", "bootstrap_stderr", "clustered_stderr")


def fits(content: Any) -> bool:
    """Return whether a file is a log of Inspect."""
    about = content.get("eval") if isinstance(content, dict) else None
    return isinstance(about, dict) and "task" in about and "status" in content


def read(path: str, content: Any, model: Model) -> Iterator[Found]:
    """Yield the metrics of each scorer, if the evaluation ended."""
    about = content["eval"]
    if content["status"] != "success":
        sentence = f"The evaluation has the status {shown(content['status'])}, not 'success'."
        refuse(sentence, f"{path}#/status", RERUN)
    # With the argument `model_path`, the name is any word: `--model hf/local -M model_path=DIR`.
    folder = _object(about.get("model_args")).get("model_path")
    if folder is None:
        check_model(f"{path}#/eval/model", about.get("model"), model)
    else:
        check_model(f"{path}#/eval/model_args/model_path", folder, model)
    check_time(f"{path}#/eval/created", about.get("created"), model)
    scores = _object(content.get("results")).get("scores")
    if not isinstance(scores, list):
        refuse("This must be a list of scores.", f"{path}#/results/scores", ELSEWHERE)
    for number, score in enumerate(scores):
        place = f"{path}#/results/scores/{number}"
        metrics = score.get("metrics") if isinstance(score, dict) else None
        if not isinstance(metrics, dict):
            refuse("This must be a score with its metrics.", place, REMOVE)
        several = len(scores) > 1
        yield from _metrics(f"{place}/metrics", score, metrics, content, several)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _value(metric: Any) -> Any:
    return metric.get("value") if isinstance(metric, dict) else metric


def _metrics(
    place: str,
    score: Mapping[str, Any],
    metrics: Mapping[str, Any],
    content: Mapping[str, Any],
    several: bool,
) -> Iterator[Found]:
    about, results = content["eval"], _object(content.get("results"))
    dataset, task, harness = _object(about.get("dataset")), about["task"], _harness(about)
    error = next((_value(metrics[name]) for name in _ERRORS[::3] if name in metrics), None)
    scored = score.get("scored_samples")
    n = results.get("completed_samples") if scored is None else scored
    for name, metric in metrics.items():
        base = name.rpartition("/")[2]
        if base in _ERRORS:
            continue
        yield Found(
            place=f"{place}/{name.replace('~', '~0').replace('/', '~1')}",
            task=task.rpartition("/")[2] if isinstance(task, str) else task,
            metric=f"{base},{score.get('name')}" if several else base,
            value=_value(metric),
            n=n,
            standard_error=error,
            dataset=dataset.get("name") or dataset.get("location"),
            harness=harness,
        )


def _harness(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return which program scored, and how it was told to."""
    examples = _object(about.get("task_args")).get("fewshot")
    return {
        "name": NAME,
        "version": _object(about.get("packages")).get("inspect_ai"),
        "commit": _object(about.get("revision")).get("commit"),
        "task": about["task"],
        "task_version": _text(about.get("task_version")),
        "num_fewshot": examples if type(examples) is int else None,
    }


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, (int, str)) and value != "" else None
