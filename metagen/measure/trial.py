"""The benchmarks: the generated code trains and scores the scaled-down model."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from metagen import families, paths
from metagen.families import ablations
from metagen.families.family import Family
from metagen.files import json_bytes
from metagen.measure import comparison, evidence, machine, sandbox
from metagen.measure.results import (
    ABLATED,
    BOUND,
    COLUMNS,
    CURVE,
    FULL_RESULTS,
    MEASURED,
    NOT_MEASURED,
    NOT_RUN,
    REPORT,
    RESULTS,
    STEPS_UNIT,
    TYPED,
    Rows,
    has_result,
    strayed,
)
from metagen.measure.training import TIMEOUT, Left, scored, trained
from metagen.package.code import runtime_files
from metagen.tasks import harness
from metagen.tasks.task import Benchmark, Lookup
from metagen.work import Desk, Recipe

SCRIPTS = tuple(f"code/{name}.py" for name in ("model", "data", "train", "eval"))
CONFIG = "code/config.json"
SEEN = "benchmarks/machine.json"
DATA = "benchmarks/data.json"
SEEDS = 2**32  # seeds are below this
SOURCE = ("dataset", "sha256", "split", "n", "n_unit")
METRIC = (
    *("metric", "title", "unit", "higher_is_better", "value", "spread", "interval"),
    *("interval_method", "interval_unit", "interval_n"),
)
OF_THE_FULL = ("standard_error", "bound", "harness")  # what only results of the full model have
Training = tuple[dict[str, Any], dict[str, Any]]  # The run of a training, and its report.
ABLATIONS = "benchmarks/ablations/"
OF_ABLATIONS = 3  # trainings of the proxy and of each change, unless the spec declares a number
MACHINE = ("--size", "proxy", "--device", "cpu", "--threads", "1")


def seeds(family: Family, key: Lookup) -> int:
    """Return the number of trainings of the proxy, each with a seed of its own."""
    bench = key("evaluation.bench")
    if bench not in family.task.benchmark.steps:
        return 1
    usual = family.task.benchmark.seeds if bench == "quick" else 1
    declared: int | None = key("evaluation.seeds")
    return declared or (max(usual, OF_ABLATIONS) if key(ablations.KEY) else usual)


def trial(desk: Desk) -> dict[str, bytes]:
    """Train the proxy on the bundled data and score it on the test split.

    The same code, seed and libraries give the same bytes, but for machine.json, which alone says
    how long it took and on what.

    Raises:
        TaskError: A script of the package failed; the error shows its last output.
    """
    return _trial(desk, ablated=False)


def trial_beside_ablations(desk: Desk) -> dict[str, bytes]:
    """Return what `trial` does, and the scores that the ablations are compared with."""
    return _trial(desk, ablated=True)


def _trial(desk: Desk, *, ablated: bool) -> dict[str, bytes]:
    report, training = _measured(desk, 0, ablated=ablated)
    machine = _machine(desk, training.seconds) if training.seconds else {}
    return {
        **_unchanged(report, 0, ablated=ablated),
        REPORT: json_bytes(report),
        CURVE: _table(training.curve),
        DATA: json_bytes(training.run.get("data", {})),
        SEEN: desk.observed(SEEN, json_bytes(machine)),
    }


def _machine(desk: Desk, seconds: dict[str, float]) -> dict[str, Any]:
    """Return the machine, and the seconds of CPU time that training and scoring took on it."""
    command = ("-P", "-m", desk.code(machine.__name__))
    result = sandbox.run(
        command, {}, ("machine.json",), timeout=TIMEOUT, module_path=paths.PACKAGE.parent
    )
    return {**json.loads(result["machine.json"]), "threads": 1, "seconds": seconds}


def _repeat(number: int, *, ablated: bool) -> Recipe:
    """Return the task that trains and scores the proxy with the seed of a further training."""
    path = report_path(number)

    def work(desk: Desk) -> dict[str, bytes]:
        report, _ = _measured(desk, number, ablated=ablated)
        # Documents draw the figure of the first training only.
        report.get("report", {}).pop("figure", None)
        return {**_unchanged(report, number, ablated=ablated), path: json_bytes(report)}

    doc = "train and score the scaled-down model with another seed"
    targets = (path, *([unchanged_path(number)] if ablated else []))
    return Recipe(f"benchmarks:trial_{number + 1}", work, (), targets, doc)


def _unchanged(report: dict[str, Any], number: int, *, ablated: bool) -> dict[str, bytes]:
    """Return the file of the scores of each resample, which a report then no longer holds."""
    if not ablated:
        return {}
    content = {"status": report["status"]}
    if "report" in report:
        kept = {name: value for name, value in report["report"].items() if name != "figure"}
        content["report"] = {**kept, "metrics": [dict(each) for each in kept["metrics"]]}
        for metric in report["report"]["metrics"]:
            metric.pop("resamples", None)
    return {unchanged_path(number): json_bytes(content)}


def unchanged_path(number: int) -> str:
    """Return the path of the scores that the ablations of a training are compared with."""
    return f"{ABLATIONS}unchanged_{number + 1}.json"


def report_path(number: int) -> str:
    """Return the path of the report of a training, counted from 0."""
    return f"benchmarks/report_{number + 1}.json" if number else REPORT


def _measured(desk: Desk, number: int, *, ablated: bool) -> tuple[dict[str, Any], Left]:
    """Return the content of the report of a training, and what it leaves beside it.

    Args:
        desk: Where the scripts are read.
        number: Which training, counted from 0.
        ablated: Whether ablations are compared with it, so that each resample is scored.
    """
    family = families.of_package(desk)
    steps = family.task.benchmark.steps.get(desk.key("evaluation.bench"))
    missing = _missing(desk, family.task.benchmark) if steps else ""
    if steps is None or missing:
        status = f"{NOT_MEASURED}: {missing}" if missing else NOT_MEASURED
        return {"status": status}, Left()
    training, scoring, run = commands(desk, family, number, ablated=ablated)
    code = files(desk, family)
    left = trained(code, training, desk.progress)
    report, left.seconds["scoring"] = scored(code | left.checkpoint, scoring, desk.progress)
    return {"status": MEASURED, "run": run, "report": report}, left


def commands(
    desk: Desk, family: Family, number: int, *, ablated: bool, changed: bool = False
) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, Any]]:
    """Return how a training and its scoring are run, and the record of both.

    Args:
        desk: Gives the keys of the spec; it asks for a benchmark.
        family: The family of the package.
        number: Which training, counted from 0.
        ablated: Whether the scores of each resample are printed.
        changed: Whether it is an ablation, whose scoring leaves out what takes long.
    """
    benchmark = family.task.benchmark
    steps = benchmark.steps[desk.key("evaluation.bench")]
    seed = (desk.key("reproducibility.seed") + number) % SEEDS
    training = ("train.py", "--steps", str(steps), "--seed", str(seed), *MACHINE)
    again = benchmark.again if number or changed else ()
    scoring = ("eval.py", *MACHINE, *again, *(("--resamples",) if ablated else ()))
    command = f"python {' '.join(training)} && python {' '.join(scoring)}"
    run = {"seed": seed, "steps": steps, "size": "proxy", "command": command}
    return training, scoring, run


def _missing(desk: Desk, benchmark: Benchmark) -> str:
    """Return the commands that install what the data needs and is not there, "" for none."""
    packages = [each for each in benchmark.packages if not desk.version(each)]
    alone = [each for each in benchmark.alone if not desk.version(each.partition("==")[0])]
    commands = [f"pip install {' '.join(packages)}"] if packages else []
    commands += [f"pip install --no-deps {' '.join(alone)}"] if alone else []
    return " && ".join(commands)


def results(desk: Desk) -> dict[str, bytes]:
    """List the results with their baselines, and the declared benchmarks that were not run."""
    full = evidence.checked(FULL_RESULTS, evidence.content(FULL_RESULTS, desk.read(FULL_RESULTS)))
    declared = desk.key("evaluation.benchmarks")
    named = [entry(name, NOT_RUN) for name in harness.missing(declared, _tasks(full))]
    family = families.of_package(desk)
    benchmark, status = family.task.benchmark.name, desk.entry(REPORT, "status")
    paths = [report_path(number) for number in range(seeds(family, desk.key))]
    if status.startswith(NOT_MEASURED):
        rows = [entry(benchmark, status)]
    else:
        rows = _rows(benchmark, [_content(desk, path) for path in paths])
    written = [_generated(desk, path) for path in paths]
    own = _rows(benchmark, [each for each in written if each]) if all(written) else []
    return {RESULTS: json_bytes([*_with_origins(rows, own), *full, *named])}


def _tasks(full: Rows) -> list[str]:
    """Return what the results of the full model are of, by the names of their harnesses."""
    return [row["harness"]["task"] or row["benchmark"] for row in full if row["harness"]]


def _with_origins(rows: Rows, written: Rows) -> Rows:
    """Return the rows of the reports with their origin; a row that differs by an edit is typed."""
    evidence.settle(evidence.lost(REPORT, evidence.checked(REPORT, rows), written))
    typed = [i for i, row in enumerate(rows) if has_result(row) and row not in written]
    found = {i: strayed(rows[i], written) for i in typed}
    evidence.settle(evidence.problems(REPORT, rows, found))
    return [row | {"origin": TYPED} if i in typed else row for i, row in enumerate(rows)]


def _generated(desk: Desk, path: str) -> Training | None:
    """Return what `_content` does, before any edit; None without a result."""
    data = desk.generated(path)
    file: dict[str, Any] = {} if data is None else json.loads(data)
    return (file["run"], file["report"]) if "report" in file else None


def _content(desk: Desk, path: str) -> Training:
    """Return the run of a training and its report, without the figure."""
    names = (name for name in desk.names(path, "report") if name != "figure")
    return desk.entry(path, "run"), {name: desk.entry(path, "report", name) for name in names}


def files(desk: Desk, family: Family) -> dict[str, bytes]:
    """Return the files of a run: the scripts and the proxy's settings."""
    for library in ("torch", "python", "numpy"):
        desk.version(library)
    proxy = {"proxy": desk.entry(CONFIG, "proxy")}
    scripts = {name: desk.read(name) for name in (*SCRIPTS, *runtime_files(family, desk.source))}
    return {CONFIG: json_bytes(proxy), **scripts}


def _rows(benchmark: str, trainings: Sequence[Training]) -> list[dict[str, Any]]:
    """Return a row for each metric; its own data and status take precedence over the report's.

    `sha256`, `split` and `n` are None if the report has none, as for an environment.
    """
    (run, report), reports = trainings[0], {run["seed"]: report for run, report in trainings}
    source = {name: report.get(name) for name in SOURCE}
    unit = report.get("steps_unit", STEPS_UNIT)
    return [
        {"benchmark": benchmark, **source, "status": "measured", **metric, **run}
        | {"steps_unit": unit, "origin": MEASURED, **dict.fromkeys(OF_THE_FULL)}
        for metric in comparison.rows(reports)
    ]


def entry(benchmark: str, status: str) -> dict[str, Any]:
    """Return the entry of a benchmark without a result."""
    run = ("seed", "steps", "steps_unit", "size", "command", "origin")
    names = (*SOURCE, *METRIC, *run, *OF_THE_FULL)
    empty: dict[str, Any] = {name: {} for name in ("baselines", "differences", "outcomes", "seeds")}
    return {"benchmark": benchmark, **dict.fromkeys(names), **empty, "status": status}


def _table(curve: list[dict[str, Any]]) -> bytes:
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(curve)
    return table.getvalue().encode()


def inputs(family: Family) -> tuple[str, ...]:
    """Return the files that a training and its scoring read."""
    return (families.ARCHITECTURE, CONFIG, *SCRIPTS, *runtime_files(family))


def recipes(family: Family, trainings: int, *, ablated: bool = False) -> tuple[Recipe, ...]:
    """Return the tasks that train and score the scaled-down model some times.

    Each training is a task, so two can run side by side, and a build that is stopped keeps those
    that ended.
    """
    reports = tuple(report_path(number) for number in range(trainings))
    read = inputs(family)
    first = (REPORT, CURVE, DATA, SEEN, *([unchanged_path(0)] if ablated else []))
    work = trial_beside_ablations if ablated else trial
    train = "train the scaled-down model and score it on held-out data"
    edited = (families.ARCHITECTURE, REPORT, CURVE, RESULTS, ABLATED, *BOUND)
    listed_from = (families.ARCHITECTURE, *reports, FULL_RESULTS)
    origins = "check the results, and list how each came about"
    listed = "list the results, and the benchmarks that were not run"
    return (
        Recipe("benchmarks:trial", work, read, first, train),
        *(replace(_repeat(n, ablated=ablated), inputs=read) for n in range(1, trainings)),
        Recipe("benchmarks:results", results, listed_from, (RESULTS,), listed),
        Recipe("benchmarks:evidence", evidence.evidence, edited, (evidence.EVIDENCE,), origins),
    )
