"""`trained/results.json`: results of the full model, from scores.json and from harnesses.

Each names what measured it, and whether its file names the bound weights. A result that two files
state is one, if they agree; where they do not, the build ends.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from metagen import families
from metagen.files import json_bytes, sha256
from metagen.measure.results import FULL_MODEL, FULL_RESULTS, NOT_TRAINED, Row, key
from metagen.spec.findings import shown
from metagen.tasks import harness
from metagen.trained import door, forecast
from metagen.trained.found import ELSEWHERE, REMOVE, Found, Model, row
from metagen.trained.model import code_of
from metagen.trained.readers import READERS, own
from metagen.trained.run import TIME
from metagen.work import Desk

SCORES, PARAMS = "scores.json", "blueprint/params.json"
# What harnesses write beside their results: samples, details, logs of the terminal.
_BESIDE = ("samples_", "details_", ".", "_")
_OTHER = (".jsonl", ".parquet", ".txt", ".log", ".md", ".html", ".csv", ".png", ".svg", ".yaml")
_CLOSED = ".eval"
_SAME = 1e-9  # by which two files may round one value

Placed = tuple[Found, Row]


def results(desk: Desk) -> dict[str, bytes]:
    """List the results of the full model that are bound to the package, or stated for it.

    Raises:
        TaskError: A file is unreadable, a value impossible, or a result of another model.
    """
    model = _model(desk)
    files = [*_scores(desk, model), *desk.results()]
    files = [each for each in files if not _of_a_ladder(*each)]
    found = [each for name, data in files for each in _read(desk, name, data, model)]
    others = [name for name, data in desk.results() if not _of_a_ladder(name, data)]
    if others and not any(not own_file(each) for each, _ in found):
        hint = "name the file, or the folder, that the harness wrote"
        door.refuse("The files of --results hold no results.", "--results", hint)
    return {FULL_RESULTS: json_bytes(_once(found))}


def _of_a_ladder(name: str, data: bytes) -> bool:
    """Tell whether `trained/forecast.json` reads a file, which then holds no results."""
    marked = name.endswith(".json") and forecast.MARK in data
    return marked and forecast.is_of_a_ladder(door.content(name, data))


def own_file(found: Found) -> bool:
    """Return whether a result is of the training folder's own scores.json."""
    return found.place.startswith(f"{SCORES}#")


def _model(desk: Desk) -> Model:
    """Return the model that results must be of: the package's, and its bound checkpoint."""
    name, total = desk.key("name"), desk.entry(PARAMS, "total")
    content = json.loads(desk.read(FULL_MODEL))
    if content["status"] == NOT_TRAINED:
        return Model(name, total)
    checkpoint = content["checkpoint"]
    return Model(
        name,
        total,
        checkpoint["sha256"],
        checkpoint["step"],
        content["seed"],
        _finished(content["history"] or (), checkpoint["step"]),
        code_of(desk),
    )


def _finished(history: Sequence[Any], step: int) -> datetime | None:
    """Return when the first start ended that reached a step, or began if it was killed."""
    start = next((entry for entry in history if entry["steps"]["to"] == step), None)
    time: datetime | None = start and TIME.parse(start["ended"] or start["began"])
    return time


def _scores(desk: Desk, model: Model) -> Iterator[tuple[str, bytes]]:
    if model.sha256 is not None:
        try:
            yield SCORES, desk.trained(SCORES)
        except LookupError:
            return


def _read(desk: Desk, name: str, data: bytes, model: Model) -> Iterator[Placed]:
    """Yield the results of a file, each with its entry of results.json."""
    leaf = name.rpartition("/")[2]
    if leaf.endswith(_CLOSED):
        hint = f"write it as JSON: inspect log dump {leaf} > results.json"
        door.refuse("This log of Inspect is compressed.", name, hint)
    if leaf.endswith(_OTHER) or leaf.startswith(_BESIDE):
        return
    content = door.content(name, data, nan=True)
    reader = next((each for each in READERS if each.fits(content)), None)
    if reader is None:
        door.refuse("No known harness writes such a file.", name, ELSEWHERE)
    file = {"file": name, "sha256": sha256(data)}
    for each in reader.read(name, content, model):
        found = replace(each, harness={**each.harness, **file})
        yield found, row(found, _benchmark(desk, found), model)


def _benchmark(desk: Desk, found: Found) -> str:
    """Return the name of the benchmark in documents: as the spec has it, if it names it."""
    if found.task == own.TOOL:
        name: str = families.of_package(desk).task.benchmark.name
        return name
    task = found.task if isinstance(found.task, str) else ""
    return harness.declared(desk.key("evaluation.benchmarks"), task)


def _once(found: Sequence[Placed]) -> list[Row]:
    """Return each result once; a bound one before one that is only stated.

    Raises:
        TaskError: Two files state different values of one result.
    """
    kept: dict[tuple[str, ...], Placed] = {}
    for each in found:
        mark = key(each[1])
        before = kept.setdefault(mark, each)
        if not math.isclose(before[1]["value"], each[1]["value"], rel_tol=_SAME):
            values = (
                f"{shown(before[1]['value'])} in {before[0].place}, and {each[1]['value']!r} here"
            )
            sentence = f"{each[1]['benchmark']}, {each[1]['metric']}: the value is {values}."
            door.refuse(sentence, each[0].place, REMOVE)
        if each[1]["bound"] and not before[1]["bound"]:
            kept[mark] = each
    return [entry for _, entry in kept.values()]
