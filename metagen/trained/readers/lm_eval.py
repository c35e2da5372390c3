"""Results of lm-eval: `results_*.json`, which `lm_eval run --output_path` writes.

Format: EleutherAI/lm-evaluation-harness, lm_eval/loggers/evaluation_tracker.py, 0.4.x; `results`
has a metric and its standard error under `name,filter` and `name_stderr,filter`, or without a
filter before 0.4. The file names the model by its path and its number of parameters; it has no
digest of the weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from metagen.entries import pointer
from metagen.trained.door import refuse
from metagen.trained.found import REMOVE, Found, Model, check_count, check_model, check_time

NAME = "lm-eval"
_PATH = re.compile(r"(?:^|,)\s*(?:peft|delta|pretrained|model|path)=([^,]+)")
_FORMS = ("json", "csv", "parquet", "text", "arrow")
_NO_METRICS = ("alias", "name", "sample_len", "sample_count")
_MARKS = ("lm_eval_version", "n-shot", "configs", "git_hash")


def fits(content: Any) -> bool:
    """Return whether a file is one of lm-eval."""
    results = isinstance(content, dict) and isinstance(content.get("results"), dict)
    old = results and isinstance(content.get("versions"), dict) and "config" in content
    return bool(results and "config_general" not in content) and (
        bool(old) or any(mark in content for mark in _MARKS)
    )


def read(path: str, content: Any, model: Model) -> Iterator[Found]:
    """Yield the results of tasks and groups; those of a group's subtasks are parts of its own."""
    config = _object(content.get("config"))
    arguments = config.get("model_args")
    named = _PATH.search(arguments) if isinstance(arguments, str) else None
    name = content.get("model_name") or (named[1] if named else None)
    if isinstance(arguments, dict):
        name = name or arguments.get("pretrained")
    check_model(f"{path}#/model_name", name, model)
    check_count(f"{path}#/config/model_num_parameters", config.get("model_num_parameters"), model)
    check_time(f"{path}#/date", content.get("date"), model)
    results = content["results"]
    for task, scores in results.items():
        place = pointer(path, ("results", task))
        if not isinstance(scores, dict):
            refuse("This must be an object of metrics.", place, REMOVE)
        if not _in_group(task, results, _object(content.get("group_subtasks"))):
            yield from _scores(place, task, scores, content)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _in_group(task: str, results: Mapping[str, Any], groups: Mapping[str, Any]) -> bool:
    """Return whether a group that has a score of its own holds a task, directly or not."""
    above = [name for name, parts in groups.items() if isinstance(parts, list) and task in parts]
    seen: set[str] = {task}
    while above:
        name = above.pop()
        if name in seen:
            continue
        seen.add(name)
        if any(True for _ in _metrics(_object(results.get(name)))):
            return True
        above += [
            each for each, parts in groups.items() if isinstance(parts, list) and name in parts
        ]
    return False


def _metrics(scores: Mapping[str, Any]) -> Iterator[str]:
    for name, value in scores.items():
        base = name.partition(",")[0].strip()
        # A group without a score of its own has a blank in its place.
        blank = not base or (isinstance(value, str) and not value.strip())
        if not blank and base not in _NO_METRICS and not base.endswith("_stderr"):
            yield name


def _scores(
    place: str, task: str, scores: Mapping[str, Any], content: Mapping[str, Any]
) -> Iterator[Found]:
    settings = _object(_object(content.get("configs")).get(task))
    better = _object(_object(content.get("higher_is_better")).get(task))
    harness = {
        "name": NAME,
        "version": content.get("lm_eval_version"),
        "commit": content.get("git_hash"),
        "task": task,
        "task_version": _text(_object(content.get("versions")).get(task)),
        "num_fewshot": _shots(task, content),
        "template_sha256": content.get("chat_template_sha"),
    }
    for name in _metrics(scores):
        base, comma, way = name.partition(",")
        yield Found(
            place=f"{place}/{name.replace('~', '~0').replace('/', '~1')}",
            task=task,
            metric=name.removesuffix(",none"),
            value=scores[name],
            n=_samples(task, content, (task,)),
            standard_error=scores.get(f"{base}_stderr{comma}{way}"),
            higher=better.get(base),
            dataset=_dataset(settings),
            split=settings.get("test_split") or settings.get("validation_split"),
            harness=harness,
        )


def _dataset(settings: Mapping[str, Any]) -> Any:
    """Return the data set of a task; of data in files, their names, for its path is their form."""
    path, arguments = settings.get("dataset_path"), _object(settings.get("dataset_kwargs"))
    if path not in _FORMS:
        return path
    given = arguments.get("data_files")
    values = list(given.values()) if isinstance(given, dict) else [given]
    files = [each for value in values for each in (value if isinstance(value, list) else [value])]
    names = [re.split(r"[/\\]", each)[-1] for each in files if isinstance(each, str)]
    return ", ".join(dict.fromkeys(names)) or path


def _text(value: Any) -> str | None:
    return (
        None if value is None or value == "N/A" or isinstance(value, (dict, list)) else str(value)
    )


def _shots(task: str, content: Mapping[str, Any]) -> Any:
    """Return the examples in a prompt; of a group, if all of its tasks have the same."""
    shots = _object(content.get("n-shot"))
    parts = _leaves(task, content, (task,)) or [task]
    found = {str(shots.get(part)) for part in (task, *parts) if part in shots}
    if len(found) == 1:
        return next(shots[part] for part in (task, *parts) if part in shots)
    return None if found else _object(content.get("config")).get("num_fewshot")


def _samples(task: str, content: Mapping[str, Any], above: tuple[str, ...]) -> Any:
    """Return how many samples were scored: the task's, or those of the group's tasks together."""
    counts = _object(content.get("n-samples"))
    if task in counts:
        return _object(counts[task]).get("effective")
    parts = [_object(counts.get(part)).get("effective") for part in _leaves(task, content, above)]
    whole = parts and all(type(part) is int for part in parts)
    return sum(parts) if whole else None


def _leaves(task: str, content: Mapping[str, Any], above: tuple[str, ...]) -> list[str]:
    """Return the tasks of a group that are no groups; a group that holds itself ends there."""
    parts = _object(content.get("group_subtasks")).get(task)
    if not isinstance(parts, list) or not parts:
        return []
    inner = [part for part in parts if isinstance(part, str) and part not in above]
    return [leaf for part in inner for leaf in _leaves(part, content, (*above, part)) or [part]]
