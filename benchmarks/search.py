"""The search beside random search and the trend's own design, at equal budget, family by family.

    python benchmarks/search.py
    python benchmarks/search.py --specs specs/tabular/tabular_regressor.yaml --trials 6 --steps 20

Each way has the same number of trainings of the same steps, and a study for each seed. What it
chooses is then trained with seeds that no study has seen, and the mean of their losses on the
validation split is its result. The trend's own design chooses nothing: its result is that of the
same new seeds. Nothing is trained twice, so the command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

from metagen import trials
from metagen.engine.cache import Cache
from metagen.engine.graph import of_files
from metagen.engine.terminal import Terminal
from metagen.measure import warm
from metagen.measure.comparison import STUDENT
from metagen.search import front, objectives, run
from metagen.search.plan import Plan, Settings
from metagen.search.space import Candidate, Point
from metagen.search.study import GRACE

SPECS = (
    "specs/tabular/tabular_regressor.yaml",
    "specs/tabular/tabular_classifier.yaml",
    "specs/text/text_regressor.yaml",
    "specs/time_series/anomaly_detector_autoencoder.yaml",
    "specs/time_series/time_series_classifier.yaml",
    "specs/time_series/time_series_forecaster.yaml",
)
SEEDS = 5  # studies of each way
FRESH = 10_000  # The first of the seeds that no study has seen.
WAYS = ("tpe", "random")


def main() -> None:
    """Run the studies that are missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--specs", nargs="+", type=Path, default=[Path(each) for each in SPECS])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--out", type=Path, default=Path("build/benchmark-search"))
    args = parser.parse_args()
    cache = trials.cache_in(args.out / "cache")
    print("| family | trend | random | search | search - trend | search - random |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for spec in args.specs:
        print(_line(spec, args, cache), flush=True)


def _line(spec: Path, args: argparse.Namespace, cache: Cache) -> str:
    """Return the row of a family: mean losses, and differences with their 95 % intervals."""
    results: dict[str, list[float]] = {"trend": []} | {way: [] for way in WAYS}
    family = ""
    for seed in range(args.seeds):
        for way in WAYS:
            plan = _plan(spec, args, way, seed)
            family = plan.space.shapes.family.name
            results[way].append(_loss(plan, _chosen(plan, cache), args.seeds, cache))
        results["trend"].append(_loss(plan, plan.space.plain, args.seeds, cache))
    means = [f"{fmean(results[way]):.4g}" for way in ("trend", "random", "tpe")]
    apart = [_apart(results["tpe"], results[other]) for other in ("trend", "random")]
    return f"| {' | '.join([family, *means, *apart])} |"


def _plan(spec: Path, args: argparse.Namespace, way: str, seed: int) -> Plan:
    (graph,) = of_files([spec])
    settings = Settings(args.trials, args.steps, seed, way, (objectives.HELD_OUT,), 0)
    return run.planned(graph, args.out / f"{way}-{seed}", settings, Terminal(quiet=True))


def _chosen(plan: Plan, cache: Cache) -> Point:
    study = run.work(plan, cache, None, GRACE, lambda line: None)
    (best,) = (row for row in front.rows(plan, study) if row["front"])
    point: Point = best["point"]
    return point


def _loss(plan: Plan, point: Point, count: int, cache: Cache) -> float:
    """Return the mean loss of a point over seeds that no study has seen."""
    candidate = plan.space.candidate(point)
    assert isinstance(candidate, Candidate)
    each = [plan.trial(candidate, seed) for seed in range(FRESH, FRESH + count)]
    with warm.python(plan.package) as python:
        outcomes = [trials.run(*trial, cache, python=python) for trial in each]
    return fmean(map(objectives.score, outcomes))


def _apart(one: Sequence[float], other: Sequence[float]) -> str:
    """Return the mean difference over studies with its 95 % interval; below 0 is better."""
    differences = [a - b for a, b in zip(one, other, strict=True)]
    mean, count = fmean(differences), len(differences)
    if count < min(STUDENT):
        return f"{mean:+.3g}"
    half = STUDENT[count] * stdev(differences) / math.sqrt(count)
    return f"{mean:+.3g} ({mean - half:+.3g} to {mean + half:+.3g})"


if __name__ == "__main__":
    main()
