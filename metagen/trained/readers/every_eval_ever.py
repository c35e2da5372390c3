"""Results in the form of Every Eval Ever, an exchange format of many harnesses.

Format: evaleval/every_eval_ever, eval.schema.json, 0.2 and 0.3. `additional_details` of the model
may hold `checkpoint_sha256`, which binds the results to weights; its values are texts, so that
`num_parameters`, which the converter from lm-eval writes, is one too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from metagen.trained.door import refuse
from metagen.trained.found import (
    REMOVE,
    Found,
    Model,
    check_count,
    check_digest,
    check_model,
    check_time,
)

NAME = "Every Eval Ever"


def fits(content: Any) -> bool:
    """Return whether a file is a record of Every Eval Ever."""
    return isinstance(content, dict) and {"schema_version", "evaluation_results"} <= content.keys()


def read(path: str, content: Any, model: Model) -> Iterator[Found]:
    """Yield the results of a record."""
    about, results = _object(content.get("model_info")), content["evaluation_results"]
    if not isinstance(results, list):
        refuse("This must be a list of results.", f"{path}#/evaluation_results", REMOVE)
    check_model(f"{path}#/model_info/id", about.get("id") or about.get("name"), model)
    details = _object(about.get("additional_details"))
    counted = f"{path}#/model_info/additional_details/num_parameters"
    check_count(counted, _number(details.get("num_parameters")), model)
    place = f"{path}#/model_info/additional_details/checkpoint_sha256"
    bound = check_digest(place, details.get("checkpoint_sha256"), model)
    library = _object(content.get("eval_library"))
    for number, result in enumerate(results):
        place = f"{path}#/evaluation_results/{number}"
        if not isinstance(result, dict):
            refuse("This must be an object of a result.", place, REMOVE)
        when = result.get("evaluation_timestamp") or content.get("evaluation_timestamp")
        check_time(f"{place}/evaluation_timestamp", when, model)
        yield _found(place, result, library, bound)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(text: Any) -> Any:
    """Return a count that is written as text; anything else as it is, for the check to refuse."""
    plain = isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < 20
    return int(text) if plain else text


def _found(place: str, result: Mapping[str, Any], library: Mapping[str, Any], bound: bool) -> Found:
    source, config = _object(result.get("source_data")), _object(result.get("metric_config"))
    details = _object(result.get("score_details"))
    doubt = _object(details.get("uncertainty"))
    version, lower = library.get("version"), config.get("lower_is_better")
    return Found(
        place=f"{place}/score_details/score",
        task=result.get("evaluation_name"),
        metric=config.get("metric_id") or config.get("metric_name") or _metric(config),
        value=details.get("score"),
        n=doubt.get("num_samples"),
        standard_error=_object(doubt.get("standard_error")).get("value"),
        higher=not lower if isinstance(lower, bool) else None,
        dataset=source.get("hf_repo") or source.get("dataset_name"),
        split=source.get("hf_split"),
        bound=bound,
        harness={
            "name": library.get("name") or NAME,
            "version": version if version != "unknown" else None,
            "task": result.get("evaluation_name"),
        },
        more=_range(config),
    )


def _metric(config: Mapping[str, Any]) -> str:
    """Return the metric that a description begins with, as in `Accuracy on IFEval`."""
    words = str(config.get("evaluation_description") or "score").casefold()
    return words.partition(" on ")[0].strip().replace(" ", "_")[:100]


def _range(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the unit that a stated range from 0 to 1 or to 100 means."""
    least, most = config.get("min_score"), config.get("max_score")
    units = {(0, 1): "share", (0, 100): "percent"}
    numbers = type(least) in (int, float) and type(most) in (int, float)
    unit = units.get((least, most)) if numbers else None  # type: ignore[arg-type]
    return {"unit": unit} if unit else {}
