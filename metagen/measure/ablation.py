"""Ablations that are run: the generated code trains and scores the proxy with one change.

Each change and each seed is a task. It trains as the benchmark does, with the same steps, seed and
data, and differs from it in the entries of `code/config.json` that the change sets. Both are scored
on the same resamples of the test split, so their difference is a paired one, seed by seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from statistics import fmean, quantiles, stdev
from typing import Any

from metagen import families
from metagen.families import ablations
from metagen.families.ablations import Ablation
from metagen.families.family import Family
from metagen.files import json_bytes
from metagen.measure import comparison, trial
from metagen.measure.evidence import edited, settle
from metagen.measure.results import ABLATED, MEASURED, NOT_MEASURED, STEPS_UNIT
from metagen.measure.training import scored, trained
from metagen.tasks.task import Lookup
from metagen.work import Desk, Recipe

PARAMS = "blueprint/params.json"
NOT_SELECTED, NOT_SHOWN = "not selected", "not shown"
NO_SCORE = "a score of it is no number"
BETTER, WORSE = "better", "worse"
# A larger change of the count is no change of the design alone.
RESIZED = 0.05
_WORDS = {comparison.BEATS: BETTER, comparison.LOSES: WORSE}
_ABOUT = ("metric", "title", "unit", "higher_is_better")
_SAMPLES = ("interval_unit", "interval_n", "n", "sha256", "split")
_CUTS = 40  # The first and the last of so many parts of a sample are outside of its middle 95 %.

Report = Mapping[str, Any]
Rows = list[dict[str, Any]]


def path(name: str, number: int) -> str:
    """Return the path of what one training with a change measured, counted from 0."""
    return f"{trial.ABLATIONS}{ablations.slug(name)}_{number + 1}.json"


def _variant(family: Family, name: str, number: int) -> Recipe:
    """Return the task that trains and scores the proxy with one change and one seed."""
    target, unchanged = path(name, number), trial.unchanged_path(number)

    def work(desk: Desk) -> dict[str, bytes]:
        settle(edited(desk, [unchanged]))
        status = desk.entry(unchanged, "status")
        if status != MEASURED:
            return {target: json_bytes({"status": status})}
        return {target: json_bytes(_measured(desk, name, number))}

    inputs = (*trial.inputs(family), unchanged)
    title = f"train and score the proxy with one change, seed {number + 1}: {name}"
    return Recipe(f"benchmarks:{ablations.slug(name)}_{number + 1}", work, inputs, (target,), title)


def _measured(desk: Desk, name: str, number: int) -> dict[str, Any]:
    """Return the scores of the changed proxy, beside those of the unchanged one."""
    family = families.of_package(desk)
    proxy = desk.entry(trial.CONFIG, "proxy")
    ablation = next(each for each in ablations.of_design(family, proxy) if each.name == name)
    if ablation.reason:
        return {"status": NOT_SHOWN, "reason": ablation.reason}
    config = _changed(family, ablation, proxy, desk.key)
    training, scoring, run = trial.commands(desk, family, number, ablated=True, changed=True)
    files = trial.files(desk, family) | {trial.CONFIG: json_bytes({"proxy": config})}
    left = trained(files, training, desk.progress)
    report, _ = scored(files | left.checkpoint, scoring, desk.progress)
    base = desk.entry(trial.unchanged_path(number), "report")
    dims = (config[ablations.MODEL], proxy[ablations.MODEL])
    more = family.count(dims[0]) - family.count(dims[1])
    about = {"change": dict(ablation.change), "parameters_added": more}
    unit = report.get("steps_unit", STEPS_UNIT)
    metrics = list(_compared(report, base))
    return {"status": MEASURED, "run": {**run, "steps_unit": unit}, **about, "metrics": metrics}


def _changed(
    family: Family, ablation: Ablation, proxy: ablations.Sections, key: Lookup
) -> dict[str, dict[str, Any]]:
    """Return the proxy's settings with a change, and with the settings that follow from it."""
    changed = ablation.apply(proxy)
    before, after = (
        family.sections(each[ablations.MODEL], key, reduced=True) for each in (proxy, changed)
    )
    for section, fields in after.items():
        follow = {n: value for n, value in fields.items() if before[section].get(n) != value}
        changed[section] = {**changed[section], **follow}
    return changed


def _compared(report: Report, base: Report) -> Iterator[dict[str, Any]]:
    """Yield each score that both reports have, with the 95 % interval of their difference.

    The changed proxy may have none, as after a training that diverged.
    """
    unchanged = {metric["metric"]: metric for metric in base["metrics"]}
    for metric in report["metrics"]:
        other = unchanged.get(metric["metric"])
        if other is None or other["value"] is None or metric["higher_is_better"] is None:
            continue
        same = all({**report, **metric}.get(n) == {**base, **other}.get(n) for n in _SAMPLES)
        yield {
            **{name: metric[name] for name in _ABOUT},
            "value": metric["value"],
            "unchanged": other["value"],
            "interval": _interval(metric, other) if same and metric["value"] is not None else None,
        }


def _interval(one: Report, other: Report) -> list[float] | None:
    """Return the middle 95 % of the differences on each resample, moved to the scores' own.

    A resample that lacks what a score needs has none, and is left out, as eval.py does.
    """
    pairs = zip(one.get("resamples") or (), other.get("resamples") or (), strict=True)
    apart = [a - b for a, b in pairs if a is not None and b is not None]
    if len(apart) < 2:
        return None
    cuts = quantiles(apart, n=_CUTS, method="inclusive")
    low, middle, high = cuts[0], cuts[_CUTS // 2 - 1], cuts[-1]
    value = one["value"] - other["value"]
    return [value + low - middle, value + high - middle]


def _joined(names: tuple[str, ...], trainings: int) -> Recipe:
    """Return the task that joins the seeds of each change into one row."""
    paths = {name: [path(name, number) for number in range(trainings)] for name in names}
    inputs = (PARAMS, *(each for several in paths.values() for each in several))

    def work(desk: Desk) -> dict[str, bytes]:
        return {ABLATED: json_bytes(_content(desk, paths))}

    doc = "join the ablations' seeds, and compare each with the unchanged proxy"
    return Recipe("benchmarks:ablations", work, inputs if names else (), (ABLATED,), doc)


def _content(desk: Desk, paths: Mapping[str, list[str]]) -> dict[str, Any]:
    settle(edited(desk, (each for several in paths.values() for each in several)))
    files = {n: [desk.entry(each) for each in several] for n, several in paths.items()}
    shown = {name: several for name, several in files.items() if _is_shown(several)}
    reasons = {name: several[0].get("reason", NO_SCORE) for name, several in files.items()}
    status = next((several[0]["status"] for several in files.values()), NOT_SELECTED)
    left_out = [{"name": n, "reason": why} for n, why in reasons.items() if n not in shown]
    if status.startswith(NOT_MEASURED):
        left_out = []
    content = {"status": MEASURED if shown else status, "resized": RESIZED, "not_shown": left_out}
    if not shown:
        return {**content, "metrics": []}
    parameters = desk.entry(PARAMS, "proxy_total")
    run = next(iter(shown.values()))[0]["run"]
    run = {name: run[name] for name in ("steps", "steps_unit")}
    return {**content, **run, "parameters": parameters, "metrics": _metrics(shown, parameters)}


def _is_shown(files: Rows) -> bool:
    """Return whether a change has each score with each seed."""
    measured = all(file["status"] == MEASURED for file in files)
    return measured and all(row["value"] is not None for file in files for row in file["metrics"])


def _metrics(shown: Mapping[str, Rows], parameters: int) -> Rows:
    """Return each metric with the unchanged proxy's scores and a row for each change."""
    first = next(iter(shown.values()))[0]["metrics"]
    return [
        {
            **{name: metric[name] for name in _ABOUT},
            "unchanged": _scores(next(iter(shown.values())), metric["metric"], "unchanged"),
            "changes": [_row(n, files, metric, parameters) for n, files in shown.items()],
        }
        for metric in first
    ]


def _row(name: str, files: Rows, metric: Report, parameters: int) -> dict[str, Any]:
    added = files[0]["parameters_added"]
    each = list(_of(files, metric["metric"]))
    apart = [row["value"] - row["unchanged"] for row in each]
    intervals = [row["interval"] for row in each]
    outcome, interval = comparison.compared(apart, intervals, higher=metric["higher_is_better"])
    seeds = [file["run"]["seed"] for file in files]
    return {
        "name": name,
        "change": files[0]["change"],
        "parameters": parameters + added,
        "share": added / parameters,
        "resized": abs(added) > RESIZED * parameters,
        **_scores(files, metric["metric"], "value"),
        "difference": {
            "value": fmean(apart),
            "seeds": dict(zip(map(str, seeds), apart, strict=True)),
            "interval": interval,
        },
        "outcome": _WORDS.get(outcome, outcome),
    }


def _scores(files: Rows, metric: str, field: str) -> dict[str, Any]:
    values = [row[field] for row in _of(files, metric)]
    seeds = [str(file["run"]["seed"]) for file in files]
    spread = stdev(values) if len(values) > 1 else None
    named = dict(zip(seeds, values, strict=True))
    return {"value": fmean(values), "spread": spread, "seeds": named}


def _of(files: Iterable[Mapping[str, Any]], metric: str) -> Iterator[dict[str, Any]]:
    """Yield the scores of one metric, of each seed."""
    for file in files:
        yield from (row for row in file["metrics"] if row["metric"] == metric)


def recipes(family: Family, key: Lookup, trainings: int) -> tuple[Recipe, ...]:
    """Return the tasks of the ablations that a spec selects, and the task that joins them."""
    names = ablations.selected(family, key)
    variants = [_variant(family, name, n) for name in names for n in range(trainings)]
    return (*variants, _joined(names, trainings))
