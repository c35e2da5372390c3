"""The benchmarks: the generated code trains and scores the scaled-down model."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from typing import Any

from metagen import families
from metagen.errors import TaskError
from metagen.families.family import Family
from metagen.files import json_bytes
from metagen.measure import evidence, sandbox
from metagen.measure.results import (
    COLUMNS,
    CURVE,
    MEASURED,
    NOT_MEASURED,
    NOT_RUN,
    REPORT,
    RESULTS,
    STEPS_UNIT,
    TYPED,
    Rows,
    has_result,
)
from metagen.package.code import runtime_files
from metagen.work import Desk, Recipe

SCRIPTS = tuple(f"code/{name}.py" for name in ("model", "data", "train", "eval"))
CONFIG = "code/config.json"
TIMEOUT = 3600
TOKENIZER = "code/runtime/tokenizer.py"  # if a package has it, checkpoints contain a tokenizer
OUT = "out"  # default of the scripts' --out
MACHINE = ("--size", "proxy", "--device", "cpu", "--threads", "1")
STEP = re.compile(r"step (\d+)/(\d+): (.*)")


def trial(desk: Desk) -> dict[str, bytes]:
    """Train the proxy on the bundled data and score it on the test split.

    The outputs hold no times: the same code, seed and libraries give the same bytes.

    Raises:
        TaskError: A script of the package failed; the error shows its last output.
    """
    family = families.of_package(desk)
    steps = family.task.benchmark.steps.get(desk.key("evaluation.bench"))
    missing = [p for p in family.task.benchmark.packages if not desk.version(p)] if steps else []
    if steps is None or missing:
        status = f"{NOT_MEASURED}: pip install {' '.join(missing)}" if missing else NOT_MEASURED
        return {REPORT: json_bytes({"status": status}), CURVE: _table([])}
    seed = desk.key("reproducibility.seed")
    training = ("train.py", "--steps", str(steps), "--seed", str(seed), *MACHINE)
    scoring = ("eval.py", *MACHINE)
    files = _files(desk, family)
    checkpoint, curve = _trained(desk, training, files)
    command = f"python {' '.join(training)} && python {' '.join(scoring)}"
    run = {"seed": seed, "steps": steps, "size": "proxy", "command": command}
    report = {
        "status": "measured",
        "run": run,
        "report": _scored(desk, scoring, files | checkpoint),
    }
    return {REPORT: json_bytes(report), CURVE: _table(curve)}


def results(desk: Desk) -> dict[str, bytes]:
    """List the results with their baselines, and the declared benchmarks that were not run."""
    named = [_entry(name, NOT_RUN) for name in desk.key("evaluation.benchmarks")]
    benchmark, status = families.of_package(desk).task.benchmark.name, desk.entry(REPORT, "status")
    if status.startswith(NOT_MEASURED):
        rows = [_entry(benchmark, status)]
    else:
        rows = _measured(benchmark, desk.entry(REPORT, "report"), desk.entry(REPORT, "run"))
    return {RESULTS: json_bytes([*_with_origins(desk, benchmark, rows), *named])}


def _with_origins(desk: Desk, benchmark: str, rows: Rows) -> Rows:
    """Return the rows of the report with their origin: an edit of the report makes a row typed."""
    data = desk.generated(REPORT)
    own = {} if data is None else json.loads(data)
    measured = _measured(benchmark, own["report"], own["run"]) if "report" in own else []
    came = [
        row | {"origin": MEASURED if row in measured else TYPED} if has_result(row) else row
        for row in rows
    ]
    evidence.settle(evidence.lost(REPORT, evidence.checked(REPORT, came), measured))
    return came


def _files(desk: Desk, family: Family) -> dict[str, bytes]:
    """Return the files of a run: the scripts and the proxy's settings."""
    for library in ("torch", "python", "numpy"):
        desk.version(library)
    proxy = {"proxy": desk.entry(CONFIG, "proxy")}
    scripts = {name: desk.read(name) for name in (*SCRIPTS, *runtime_files(family, desk.source))}
    return {CONFIG: json_bytes(proxy), **scripts}


def _run(
    desk: Desk, command: Sequence[str], files: dict[str, bytes], outputs: Sequence[str]
) -> dict[str, bytes]:
    def report(line: str) -> None:
        if match := STEP.search(line):
            desk.progress(int(match[1]), int(match[2]), match[3])

    arguments = (f"code/{command[0]}", *command[1:])
    return sandbox.run(arguments, files, outputs, timeout=TIMEOUT, on_line=report)


def _trained(
    desk: Desk, training: Sequence[str], files: dict[str, bytes]
) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """Return the files of the checkpoint, and the lines of the training's record."""
    tokenizer = ("tokenizer.json",) if TOKENIZER in files else ()
    names = ("model.safetensors", "config.json", "state.json", *tokenizer)
    checkpoint = [f"{OUT}/checkpoint/{name}" for name in names]
    record = f"{OUT}/metrics.jsonl"
    left = _run(desk, training, files, (*checkpoint, record))
    lines = left.pop(record).decode().splitlines()
    return left, [json.loads(line) for line in lines]


def _scored(desk: Desk, scoring: Sequence[str], files: dict[str, bytes]) -> dict[str, Any]:
    printed = _run(desk, scoring, files, (sandbox.STDOUT,))
    try:
        report: dict[str, Any] = json.loads(printed[sandbox.STDOUT])
    except ValueError as error:
        raise TaskError("code/eval.py printed something other than its JSON report") from error
    return report


def _measured(benchmark: str, report: dict[str, Any], run: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each metric; its own data and status take precedence over the report's.

    `sha256`, `split` and `n` are None if the report has none, as for an environment.
    """
    source = {name: report[name] for name in ("dataset", "sha256", "split", "n")}
    unit = report.get("steps_unit", STEPS_UNIT)
    return [
        {"benchmark": benchmark, **source, "status": "measured", **metric, **run}
        | {"steps_unit": unit}
        for metric in report["metrics"]
    ]


def _entry(benchmark: str, status: str) -> dict[str, Any]:
    """Return the entry of a benchmark without a result."""
    source = dict.fromkeys(("dataset", "sha256", "split", "n"))
    metric = dict.fromkeys(("metric", "title", "unit", "higher_is_better", "value"))
    run = dict.fromkeys(("seed", "steps", "steps_unit", "size", "command", "origin"))
    return {"benchmark": benchmark, **source, **metric, "baselines": {}, **run, "status": status}


def _table(curve: list[dict[str, Any]]) -> bytes:
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(curve)
    return table.getvalue().encode()


def recipes(family: Family) -> tuple[Recipe, ...]:
    """Return the tasks that train and score the scaled-down model."""
    inputs = (families.ARCHITECTURE, CONFIG, *SCRIPTS, *runtime_files(family))
    train = "train the scaled-down model and score it on held-out data"
    edited = (families.ARCHITECTURE, REPORT, CURVE, RESULTS)
    origins = "check the results, and list how each came about"
    listed = "list the results, and the benchmarks that were not run"
    return (
        Recipe("benchmarks:trial", trial, inputs, (REPORT, CURVE), train),
        Recipe("benchmarks:results", results, (families.ARCHITECTURE, REPORT), (RESULTS,), listed),
        Recipe("benchmarks:evidence", evidence.evidence, edited, (evidence.EVIDENCE,), origins),
    )
