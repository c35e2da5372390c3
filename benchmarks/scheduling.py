"""Many trials on many workers: how long, how busy, how much is lost, without training anything.

    python benchmarks/scheduling.py build/search-tabular_regressor --trials 1000

Only the schedule is simulated. The time of each trial is drawn, with a seed, from those that the
study in the folder measured. A worker that ends a trial takes the next one. A worker that is killed
is away for `--restart` seconds; its trial is run again from its start by the first worker that is
free after two minutes without a sign of life, the default of `--grace`.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from metagen.search.results import TRIALS
from metagen.search.study import GRACE

WORKERS = (1, 8, 64)
KILLS = (0.0, 0.01, 0.1)  # Share of the trainings whose worker is killed on its way.


@dataclass(frozen=True)
class Run:
    """What a schedule showed; all times are in seconds.

    Attributes:
        trained: Trainings, those that were lost included.
        lost: Time in trainings that were lost.
        worked: Time in all trainings.
        held: Time of all workers, without that in which a killed one is away.
        end: When the last trial ended.
    """

    trained: int
    lost: float
    worked: float
    held: float
    end: float


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="A folder that `metagen search` has left.")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--restart", type=float, default=600.0, help="Seconds to a new worker.")
    parser.add_argument("--slower", type=float, default=1.0, help="Factor on the times of trials.")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rows = json.loads((args.study / TRIALS).read_text())
    times = [args.slower * row["seconds"] for row in rows if row["status"] == "done"]
    print(f"{len(times)} measured trials of {min(times):.3g} to {max(times):.3g} s, ", end="")
    print(f"{fmean(times):.3g} s on average; {args.trials:,} trials, times {args.slower:g}\n")
    print("| workers | killed | trainings | hours | worker hours | at work | lost |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for workers in WORKERS:
        for killed in KILLS:
            run = scheduled(times, workers, args.trials, killed, args.restart, args.seed)
            print(_line(run, workers, killed))


def scheduled(
    times: Sequence[float], workers: int, trials: int, killed: float, restart: float, seed: int
) -> Run:
    """Return what a schedule of some trials on some workers shows."""
    draw = random.Random(seed)
    free = [0.0] * workers
    # From when a trial waits, its number, and how long it takes.
    waiting = [(0.0, number, draw.choice(times)) for number in range(trials)]
    deaths: list[float] = []
    trained, lost, worked, end = 0, 0.0, 0.0, 0.0
    while waiting:
        since, number, needed = heapq.heappop(waiting)
        start = max(heapq.heappop(free), since)
        dies = draw.random() < killed
        taken = needed * draw.random() if dies else needed
        trained, worked = trained + 1, worked + taken
        if dies:
            deaths.append(start + taken)
            lost += taken
            heapq.heappush(waiting, (start + taken + GRACE, number, needed))
        else:
            end = max(end, start + taken)
        heapq.heappush(free, start + taken + (restart if dies else 0.0))
    away = sum(min(restart, max(0.0, end - death)) for death in deaths)
    return Run(trained, lost, worked, workers * end - away, end)


def _line(run: Run, workers: int, killed: float) -> str:
    cells = (
        f"{workers}",
        f"{killed:.0%}",
        f"{run.trained:,}",
        f"{run.end / 3600:,.1f}",
        f"{run.held / 3600:,.1f}",
        f"{run.worked / run.held:.0%}",
        f"{run.lost / run.worked:.1%}",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
