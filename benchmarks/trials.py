"""Trainings of a search in forks of one process, beside each in a Python of its own.

    python benchmarks/trials.py [--steps 60] [--repeats 3] [--specs SPEC ...]

The same trials are trained in both ways, in turn, and their losses must be equal to the bit. The
table has medians of the CPU time of one trial; what the process imports before its first fork is
paid once in a study, and is not in it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median

from metagen import trials
from metagen.engine.graph import of_files
from metagen.engine.terminal import Terminal
from metagen.measure import sandbox, warm
from metagen.search import objectives, run
from metagen.search.plan import Plan, Settings
from metagen.search.space import Candidate
from metagen.trials import Outcome

SPECS = (
    "specs/tabular/tabular_regressor.yaml",
    "specs/time_series/time_series_classifier.yaml",
    "specs/graph/recommender_two_tower.yaml",
    "specs/image/image_classifier_resnet.yaml",
)


def main() -> None:
    """Print a row for each spec."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--specs", nargs="+", type=Path, default=[Path(each) for each in SPECS])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    print("| spec | a Python for each trial | forks | ratio |")
    print("| --- | ---: | ---: | ---: |")
    for spec in args.specs:
        with tempfile.TemporaryDirectory() as folder:
            print(_row(spec, args, Path(folder)), flush=True)


def _row(spec: Path, args: argparse.Namespace, out: Path) -> str:
    """Return the medians of the two ways and their ratio.

    Raises:
        SystemExit: A trial showed something else in a fork.
    """
    (graph,) = of_files([spec])
    settings = Settings(1, args.steps, 0, "random", (objectives.HELD_OUT,), 0)
    plan = run.planned(graph, out, settings, Terminal(quiet=True))
    alone, forked = [], []
    with warm.python(plan.package) as python:
        for seed in range(args.repeats):
            alone.append(_outcome(plan, seed, out / "alone", sandbox.run))
            forked.append(_outcome(plan, seed, out / "forked", python))
            if alone[-1].curve != forked[-1].curve:
                raise SystemExit(f"{spec}: seed {seed} has another curve in a fork")
    one, other = (median(each.seconds for each in every) for every in (alone, forked))
    return f"| {spec.stem} | {one:.1f} s | {other:.1f} s | {other / one:.2f} |"


def _outcome(plan: Plan, seed: int, place: Path, python: sandbox.Python) -> Outcome:
    candidate = plan.space.candidate(plan.space.plain)
    assert isinstance(candidate, Candidate)
    return trials.run(*plan.trial(candidate, seed), trials.cache_in(place), python=python)


if __name__ == "__main__":
    main()
