"""`docs/release_check.json`: the release opened by others, and its first steps run as printed.

The folder is what a user downloads, so the check reads nothing else. What it cannot do on a machine
is `not checked`, with the reason and the next step; what it does and fails ends the build.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from metagen import families, paths
from metagen.errors import Problem, TaskError
from metagen.families.family import Family
from metagen.files import json_bytes
from metagen.measure import sandbox
from metagen.release.about import PATH as ABOUT
from metagen.release.card import PATH as README
from metagen.release.smoke_worker import REPORT
from metagen.release.weights import FOLDER
from metagen.work import Desk, Output, Recipe, Work

PATH = "docs/release_check.json"
BOUND = 1e-4  # share of the largest output: sums in another order differ by less in float32
TIMEOUT = 7200
_LENGTH = 64  # tokens of the input
_SECTION = re.compile(r"^## How to Get Started with the Model$(.*?)^## ", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LIBRARIES = ("transformers", "sentence-transformers", "torch", "numpy", "safetensors")


def steps(card: str) -> Iterator[tuple[str, str]]:
    """Yield the language and the text of each code block of a card's first steps."""
    section = _SECTION.search(card)
    if section:
        yield from _BLOCK.findall(section[1])


def smoke(paths_of_release: tuple[str, ...]) -> Work:
    """Return the work that checks the release, which has these files."""

    def work(desk: Desk) -> dict[str, Output]:
        places = {path.removeprefix(f"{FOLDER}/"): desk.place(path) for path in paths_of_release}
        report = _report(desk, places)
        _judge(report)
        return {PATH: desk.observed(PATH, json_bytes(report))}

    return work


def example(family: Family, dims: dict[str, Any]) -> list[dict[str, Any]]:
    """Return shape and dtype of each argument of the network, for what its window holds."""
    length = 1 if family.context_dim is None else min(_LENGTH, family.input_length(dims))
    return family.task.example(dims, length)


def _report(desk: Desk, places: Mapping[str, Path]) -> dict[str, Any]:
    """Return what the worker saw of the files of the release, which lie at these places."""
    family, dims = families.of_package(desk), desk.entry(families.ARCHITECTURE, "model")
    for library in _LIBRARIES:
        desk.version(library)
    task = {
        "files": {name: str(place) for name, place in places.items()},
        "class": desk.entry(ABOUT, "class"),
        "inputs": example(family, dims),
        "vocabulary": dims.get("vocab_size"),
        "unit_vectors": family.task.unit_vectors,
        "bytes": 4 * desk.entry(ABOUT, "numbers"),
        "bound": BOUND,
        "steps": [list(step) for step in steps(desk.read(README).decode())],
    }
    worker = desk.code("metagen.release.smoke_worker")
    left = sandbox.run(
        ("-P", "-m", worker, "task.json"),
        {"task.json": json_bytes(task)},
        (REPORT,),
        timeout=TIMEOUT,
        module_path=paths.PACKAGE.parent,
        on_line=lambda line: desk.progress(0, 0, line),
    )
    report: dict[str, Any] = json.loads(left[REPORT])
    return report


def _judge(report: dict[str, Any]) -> None:
    """Raise a TaskError for what was checked and is wrong."""
    problems = []
    for name in ("code", "transformers"):
        if report[name]["status"] == "failed":
            problems.append(Problem(report[name]["why"], "release", report[name]["hint"]))
    for step in report["steps"]:
        if step["status"] == "failed":
            sentence = f"The card's first steps do not run: {step['command']}"
            problems.append(Problem(sentence, README, step["why"]))
    if problems:
        raise TaskError(problems)


def recipe(paths_of_release: tuple[str, ...]) -> Recipe:
    """Return the recipe of the check of a release with these files."""
    read = (*paths_of_release, families.ARCHITECTURE, ABOUT)
    doc = "open the release as its users will"
    return Recipe("release:check", smoke(paths_of_release), read, (PATH,), doc)
