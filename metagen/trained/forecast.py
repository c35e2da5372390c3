"""`trained/forecast.json`: what a ladder forecast of the full model, and what its targets say.

A forecast and its check are files among the bound results. Each target of the spec becomes an
entry of blueprint/constraints.json: a measured value decides where there is one, else the forecast
with its range, else it is open.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from metagen import families
from metagen.files import json_bytes, sha256
from metagen.measure.results import FULL_MODEL, FULL_RESULTS, NOT_TRAINED
from metagen.sizing.measured import NO_LIMIT, Entry, Requirement, entry, unknown
from metagen.sizing.verdicts import FORECAST
from metagen.spec.kinds import list_of, pattern, pins, real, text, whole
from metagen.trained import door, metrics
from metagen.work import Desk

KIND, CHECK, RUNS = (f"metagen ladder {name} 1" for name in ("forecast", "check", "runs"))
MARK = b'"metagen ladder '  # is in each of these files
METRIC = "val_loss"
TITLE = "validation_loss"  # name of its entry among the constraints
CITES = ("porian", "choshen")  # the rule of batch and rate, and how a law is fitted
_LOSS = real(0.0, 1e9)
_SAID = {"loss": _LOSS, "low": _LOSS, "high": _LOSS, "level": real(0.0, 1.0)}
_DIGEST = pattern(r"[0-9a-f]{64}", "a sha256")
_TIME = pattern(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", "a time in UTC")
_FORECAST = {"registered": _TIME, "code": _DIGEST}
_CHECKED = {
    "forecast_sha256": _DIGEST,
    "weights_sha256": _DIGEST,
    "measured": _LOSS,
    "miss": real(-1.0, 1e9),
    "differs": list_of(text(300)),
}
_AGAIN = "run metagen ladder again with --replace, or remove its folder"
# Metrics of which less is better, by their names.
_LOWER = re.compile(r"loss|error|distance|perplexity|^bits_|(^|_)(mae|mase|mse|rmse|wer|cer)(_|$)")
_NONE = "no forecast is bound: metagen ladder makes one"


def is_of_a_ladder(content: Any) -> bool:
    """Return whether some JSON is a file that `metagen ladder` wrote."""
    return isinstance(content, dict) and content.get("kind") in (KIND, CHECK, RUNS)


def forecast(desk: Desk) -> dict[str, bytes]:
    """List the bound forecast, its check, and the verdicts on the targets of the spec.

    Raises:
        TaskError: A forecast is broken, or of another model than the package's.
    """
    known, digest = _bound(desk)
    fact = _check(desk, digest) if known else None
    content = {
        "status": "forecast" if known else "not forecast",
        "forecast": known,
        "check": fact,
        "verdicts": list(_verdicts(desk, known, fact)),
    }
    return {FORECAST: json_bytes(content)}


def _bound(desk: Desk) -> tuple[dict[str, Any] | None, str]:
    """Return the bound forecast and its digest; of several, the one called forecast.json."""
    found = {}
    for name, data in desk.results():
        if name.endswith(".json") and f'"{KIND}"'.encode() in data:
            content = door.content(name, data)
            if is_of_a_ladder(content) and content["kind"] == KIND:
                found[name] = content, sha256(data)
    if not found:
        return None, ""
    name = min(found, key=lambda each: (not each.endswith("forecast.json"), each))
    content, digest = found[name]
    _must_be_sound(desk, name, content)
    return content, digest


def _must_be_sound(desk: Desk, name: str, content: Mapping[str, Any]) -> None:
    door.settle(door.flaws(name, (), content, _FORECAST))
    door.settle(door.flaws(name, ("forecast",), content.get("forecast"), _SAID))
    kinds = {"dims": pins(), "parameters": whole(1, 10**15)}
    door.settle(door.flaws(name, ("model",), content.get("model"), kinds))
    reach = {"size": real(0.0, 1e15), "compute": real(0.0, 1e30)}
    door.settle(door.flaws(name, ("reach",), content.get("reach"), reach))
    said, dims = content["forecast"], content["model"]["dims"]
    if not said["low"] <= said["loss"] <= said["high"]:
        door.refuse("The forecast is not inside its range.", name, _AGAIN)
    if dims != desk.entry(families.ARCHITECTURE, "model"):
        sentence = f"The forecast is of another model, of {content['model']['parameters']:,}"
        door.refuse(f"{sentence} parameters and other dimensions.", name, _AGAIN)


def _check(desk: Desk, digest: str) -> dict[str, Any] | None:
    """Return the check of the bound forecast on the bound weights; None without one."""
    model = json.loads(desk.read(FULL_MODEL))
    weights = None if model["status"] == NOT_TRAINED else model["checkpoint"]["sha256"]
    for name, data in desk.results():
        if not (name.endswith(".json") and f'"{CHECK}"'.encode() in data):
            continue
        content: Any = door.content(name, data)
        if not (is_of_a_ladder(content) and content["kind"] == CHECK):
            continue
        door.settle(door.flaws(name, (), content, _CHECKED))
        if content["forecast_sha256"] == digest and content["weights_sha256"] == weights:
            return {field: content[field] for field in _CHECKED}
    return None


def _verdicts(
    desk: Desk, known: Mapping[str, Any] | None, fact: Mapping[str, Any] | None
) -> Iterator[Entry]:
    targets: dict[str, float] = desk.key("evaluation.target")
    if known or METRIC in targets:
        yield _of_loss(desk, targets.get(METRIC), known, fact)
    for metric, value in targets.items():
        if metric != METRIC:
            yield _of_metric(desk, metric, value)


def _of_loss(
    desk: Desk,
    target: float | None,
    known: Mapping[str, Any] | None,
    fact: Mapping[str, Any] | None,
) -> Entry:
    """Return the entry of the validation loss: measured, or forecast with its range."""
    unit = families.of_package(desk).words.loss_unit
    required = NO_LIMIT if target is None else Requirement(target, target)
    if known is None:
        return unknown(TITLE, target, unit, _NONE)
    said = known["forecast"]
    spoken = f"forecast {said['loss']:.4g} ({said['level']:.0%}: {said['low']:.4g} to "
    spoken += f"{said['high']:.4g}), registered {known['registered']}"
    source, cites = f"{FORECAST}: a ladder of {_counted(known)}", CITES
    if fact:
        formula = f"measured {fact['measured']:.4g}; {spoken}; missed by {fact['miss']:+.1%}"
        formula += "".join(f"; {each}" for each in fact["differs"])
        return entry(TITLE, fact["measured"], unit, formula, source, required, cites=cites)
    reach = known["reach"]
    formula = f"{spoken}; {reach['size']:.3g} times the parameters of the top rung and "
    formula += f"{reach['compute']:.3g} times its operations"
    between = (said["low"], said["high"])
    return entry(TITLE, said["loss"], unit, formula, source, required, None, between, cites)


def _counted(known: Mapping[str, Any]) -> str:
    return f"{len(known.get('rungs', ()))} rungs and {len(known.get('runs', ()))} trainings"


def _of_metric(desk: Desk, metric: str, value: float) -> Entry:
    """Return the entry of a target that a score of the trained model decides."""
    for row in json.loads(desk.read(FULL_RESULTS)):
        if row["metric"] == metric and row["value"] is not None:
            relation = "required" if row["higher_is_better"] else "allowed"
            required = Requirement(value, value, relation)
            between = tuple(row["interval"]) if row["interval"] else None
            formula = f"{row['title']}, {row['benchmark']}"
            source = f"{FULL_RESULTS}: {metric}"
            return entry(metric, row["value"], row["unit"] or "", formula, source, required,
                         None, between)  # fmt: skip
    relation = (
        "allowed" if _LOWER.search(metric) or metrics.metric(metric).higher is False else "required"
    )
    return unknown(metric, value, "", "no result of the trained model has it", relation)
