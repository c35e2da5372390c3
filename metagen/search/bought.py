"""What each choice bought: trainings of several new seeds, with and without it.

The best of many trials is the best partly by luck. So the chosen point and the package's own are
trained again with seeds that the search has not seen, and so is the chosen point without each of
its choices. Differences are taken seed by seed; their interval is that of Student's t.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from metagen import trials
from metagen.engine.cache import Cache
from metagen.measure import sandbox, warm
from metagen.measure.comparison import STUDENT
from metagen.measure.trial import SEEDS
from metagen.search import objectives
from metagen.search.plan import Plan
from metagen.search.space import Candidate, Point
from metagen.search.worker import Say

ALL = "all choices together"
LOWER, HIGHER, UNKNOWN = "lower", "higher", "cannot tell"


@dataclass(frozen=True)
class Bought:
    """What a choice bought of the loss.

    Attributes:
        choice: Its name, or `ALL`.
        value: Its value in the chosen point.
        difference: The mean of the loss with it minus the loss without it; below 0 is better.
        interval: The 95 % interval of that mean over seeds; None for one seed.
        seeds: How many seeds.
    """

    choice: str
    value: float | str
    difference: float
    interval: tuple[float, float] | None
    seeds: int

    @property
    def verdict(self) -> str:
        """`lower` or `higher` where the interval leaves out 0, else `cannot tell`."""
        if self.interval is None or self.interval[0] <= 0 <= self.interval[1]:
            return UNKNOWN
        return LOWER if self.difference < 0 else HIGHER

    def content(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {
            "choice": self.choice,
            "value": self.value,
            "difference": self.difference,
            "interval": list(self.interval) if self.interval else None,
            "seeds": self.seeds,
            "verdict": self.verdict,
        }


def bought(plan: Plan, point: Point, cache: Cache, say: Say) -> list[Bought]:
    """Return what a point bought beside the package's own, and what each of its choices did.

    Raises:
        TaskError: A training failed.
    """
    if plan.settings.seeds < 1 or point == plan.space.plain:
        return []
    every = list(_without(plan, point))
    say(f"what it bought: {1 + len(every)} designs, new seeds for each: {plan.settings.seeds}")
    with warm.python(plan.package) as python:
        trainings = _Trainings(plan, cache, say, python)
        chosen = trainings.losses(point, "chosen")
        assert chosen is not None
        found = []
        for choice, value, without in every:
            what = "own design" if choice == ALL else f"without {choice}"
            if losses := trainings.losses(without, what):
                found.append(_compared(choice, value, chosen, losses))
    return found


def _without(plan: Plan, point: Point) -> Iterator[tuple[str, float | str, Point]]:
    """Yield each choice with its value and the point without it; first all of them together."""
    plain = plan.space.plain
    changed = [name for name, value in point.items() if value != plain[name]]
    yield ALL, "", plain
    for name in changed if len(changed) > 1 else ():
        yield name, point[name], {**point, name: plain[name]}


@dataclass(frozen=True)
class _Trainings:
    plan: Plan
    cache: Cache
    say: Say
    python: sandbox.Python

    def losses(self, point: Point, what: str) -> list[float] | None:
        """Return the losses of a point for each new seed; None if no full design stands for it."""
        candidate = self.plan.space.candidate(point)
        if not isinstance(candidate, Candidate):
            return None
        losses = []
        for number in range(1, self.plan.settings.seeds + 1):
            seed = (self.plan.settings.seed + number) % SEEDS
            trial = self.plan.trial(candidate, seed)
            outcome = trials.run(*trial, self.cache, python=self.python)
            losses.append(objectives.score(outcome))
            self.say(f"{what}, seed {seed}: {losses[-1]:.4g}")
        return losses


def _compared(choice: str, value: float | str, chosen: list[float], without: list[float]) -> Bought:
    apart = [a - b for a, b in zip(chosen, without, strict=True)]
    mean, count = fmean(apart), len(apart)
    if count < min(STUDENT):
        return Bought(choice, value, mean, None, count)
    half = STUDENT[count] * stdev(apart) / math.sqrt(count)
    return Bought(choice, value, mean, (mean - half, mean + half), count)
