"""The benchmarks: the scaled-down model, trained and scored by the generated code itself."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from typing import Any

from metagen import families
from metagen.errors import TaskError
from metagen.files import json_bytes
from metagen.measure import sandbox
from metagen.work import Desk, Recipe

SCRIPTS = tuple(f"code/{name}.py" for name in ("model", "data", "train", "eval"))
INPUTS = ("code/config.json", *SCRIPTS)
TARGETS = ("benchmarks/results.json", "benchmarks/curve.csv")
BENCHMARK = "held-out text"
COLUMNS = ("step", "train_loss", "val_loss", "learning_rate")
TIMEOUT = 1800
OUT = "out"  # where the scripts write unless they are told otherwise
MACHINE = ("--size", "proxy", "--device", "cpu", "--threads", "1")
STEP = re.compile(r"step (\d+)/(\d+): (.*)")


def work(desk: Desk) -> dict[str, bytes]:
    """Train the proxy on the bundled corpus, score it on the test split, and list what nobody ran.

    The outputs hold no times: the same code, seed and libraries give the same bytes.

    Raises:
        TaskError: A script of the package failed; it shows what the script said.
    """
    steps, seed = _steps(desk), desk.key("reproducibility.seed")
    named = [_entry(name, "not run") for name in desk.key("evaluation.benchmarks") or ()]
    if steps is None:
        return _outputs([_entry(BENCHMARK, "not measured"), *named], [])
    training = ("train.py", "--steps", str(steps), "--seed", str(seed), *MACHINE)
    scoring = ("eval.py", *MACHINE)
    checkpoint, curve = _trained(desk, training)
    report = _scored(desk, scoring, checkpoint)
    command = f"python {' '.join(training)} && python {' '.join(scoring)}"
    run = {"seed": seed, "steps": steps, "size": "proxy", "command": command}
    return _outputs([*_measured(report, run), *named], curve)


def _steps(desk: Desk) -> int | None:
    """Return the updates to take, or None where nothing is to be run."""
    return families.chosen(desk).bench_steps.get(desk.key("evaluation.bench"))


def _run(
    desk: Desk, command: Sequence[str], extra: dict[str, bytes], wanted: Sequence[str]
) -> dict[str, bytes]:
    for library in ("torch", "python", "numpy"):
        desk.version(library)
    files = {name: desk.read(name) for name in INPUTS}
    arguments = (f"code/{command[0]}", *command[1:])

    def tell(line: str) -> None:
        if found := STEP.search(line):
            desk.progress(int(found[1]), int(found[2]), found[3])

    return sandbox.run(arguments, files | extra, wanted, timeout=TIMEOUT, on_line=tell)


def _trained(desk: Desk, training: Sequence[str]) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """Return the files of the checkpoint, and the lines of the training's record."""
    names = ("model.safetensors", "config.json", "state.json")
    checkpoint = [f"{OUT}/checkpoint/{name}" for name in names]
    record = f"{OUT}/metrics.jsonl"
    left = _run(desk, training, {}, (*checkpoint, record))
    lines = left.pop(record).decode().splitlines()
    return left, [json.loads(line) for line in lines]


def _scored(desk: Desk, scoring: Sequence[str], checkpoint: dict[str, bytes]) -> dict[str, Any]:
    printed = _run(desk, scoring, checkpoint, (sandbox.STDOUT,))
    try:
        report: dict[str, Any] = json.loads(printed[sandbox.STDOUT])
    except ValueError as error:
        raise TaskError("code/eval.py printed something other than its JSON report") from error
    return report


def _measured(report: dict[str, Any], run: dict[str, Any]) -> list[dict[str, Any]]:
    source = {name: report[name] for name in ("dataset", "sha256", "split", "n")}
    return [
        {"benchmark": BENCHMARK, **source, **metric, **run, "status": "measured"}
        for metric in report["metrics"]
    ]


def _entry(benchmark: str, status: str) -> dict[str, Any]:
    """Return the entry of a benchmark without a result."""
    unknown = ("dataset", "sha256", "split", "n", "metric", "unit", "higher_is_better", "value")
    run = dict.fromkeys(("seed", "steps", "size", "command"))
    nothing = dict.fromkeys(unknown)
    return {"benchmark": benchmark, **nothing, "baselines": {}, **run, "status": status}


def _outputs(results: list[dict[str, Any]], curve: list[dict[str, Any]]) -> dict[str, bytes]:
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(curve)
    return dict(zip(TARGETS, (json_bytes(results), table.getvalue().encode()), strict=True))


RECIPES = (
    Recipe(
        "benchmarks:trial",
        work,
        INPUTS,
        TARGETS,
        "train the scaled-down model and score it on held-out data",
    ),
)
