"""Results of lighteval: `results/MODEL/results_*.json`.

Format: huggingface/lighteval, src/lighteval/logging/evaluation_tracker.py; `results` has the scores
of each `task|few-shot` (with the name of a suite before it in older versions), and means over parts
as `task:_average|few-shot` and `all`. The file names the model; it has no digest of the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from metagen.entries import pointer
from metagen.trained.door import refuse
from metagen.trained.found import REMOVE, Found, Model, check_count, check_model

NAME = "lighteval"
_AVERAGE = ":_average"


def fits(content: Any) -> bool:
    """Return whether a file is one of lighteval."""
    return isinstance(content, dict) and "config_general" in content and "results" in content


def read(path: str, content: Any, model: Model) -> Iterator[Found]:
    """Yield the results of tasks, and those of a task's parts only if their mean is missing."""
    general = _object(content["config_general"])
    name = general.get("model_name") or _object(general.get("model_config")).get("model_name")
    check_model(f"{path}#/config_general/model_name", name, model)
    check_count(f"{path}#/config_general", general.get("model_num_parameters"), model)
    results = content["results"]
    if not isinstance(results, dict):
        refuse("This must be an object of tasks.", f"{path}#/results", REMOVE)
    means = {_parts(key)[0] for key in results if _AVERAGE in key}
    for key, scores in results.items():
        place = pointer(path, ("results", key))
        if not isinstance(scores, dict):
            refuse("This must be an object of metrics.", place, REMOVE)
        task, _ = _parts(key)
        part = ":" in task and _AVERAGE not in key and task.partition(":")[0] in means
        if key != "all" and not part:
            yield from _scores(place, key, scores, content)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _parts(key: str) -> tuple[str, int | None]:
    """Return the task and the number of examples in a prompt, from a key of the results."""
    words = key.split("|")
    task = words[0] if len(words) < 3 else words[1]
    shots = next((int(w) for w in words[1:] if w.isascii() and w.isdecimal() and len(w) < 7), None)
    return task.removesuffix(_AVERAGE), shots


def _scores(
    place: str, key: str, scores: Mapping[str, Any], content: Mapping[str, Any]
) -> Iterator[Found]:
    task, shots = _parts(key)
    mean, configs = _AVERAGE in key, _object(content.get("config_tasks"))
    settings = _settings(key, task, mean, configs)
    commit = _object(content["config_general"]).get("lighteval_sha")
    harness = {
        "name": NAME,
        "commit": commit if commit != "?" else None,
        "task": task,
        "task_version": _version(
            settings.get("version"), _object(content.get("versions")).get(key)
        ),
        "num_fewshot": settings.get("num_fewshots", shots),
    }
    for name, value in scores.items():
        if not name.endswith("_stderr"):
            yield Found(
                place=f"{place}/{name.replace('~', '~0').replace('/', '~1')}",
                task=task,
                metric=name,
                value=value,
                n=None if mean else _samples(settings),
                standard_error=scores.get(f"{name}_stderr"),
                higher=_higher(settings, name),
                dataset=settings.get("hf_repo"),
                split=_split(settings),
                harness=harness,
            )


def _settings(key: str, task: str, mean: bool, configs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings of a task; those of a mean are its first part's."""
    if not mean:
        words = key.split("|")
        names = (key, "|".join(words[:3]), "|".join(words[:2]))
        return next((_object(configs[name]) for name in names if name in configs), {})
    return next((_object(c) for name, c in configs.items() if f"{task}:" in f"{name}:"), {})


def _version(*values: Any) -> str | None:
    return next((str(v) for v in values if isinstance(v, (int, str)) and v != ""), None)


def _samples(settings: Mapping[str, Any]) -> Any:
    """Return how many samples were scored; lighteval writes -1 where it does not know."""
    count = settings.get("effective_num_docs")
    return None if count == -1 else count


def _split(settings: Mapping[str, Any]) -> Any:
    splits = settings.get("evaluation_splits")
    return splits[0] if isinstance(splits, list) and len(splits) == 1 else None


def _higher(settings: Mapping[str, Any], name: str) -> Any:
    metrics = settings.get("metrics") or settings.get("metric")
    every = metrics if isinstance(metrics, list) else []
    found = (m.get("higher_is_better") for m in every if _object(m).get("metric_name") == name)
    value = next(found, None)
    return value if isinstance(value, bool) else None
