"""A ladder from its plan to its law: what it will cost, its trainings, and the fit of their losses.

The cost is known before the start. The operations of each size are counted on the meta device, and
the time of an update is measured in short trainings of the smallest and the largest rung.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metagen import files, trials
from metagen.engine.cache import Cache
from metagen.ladder import law, sizes
from metagen.ladder.forecast import Climbed
from metagen.ladder.sizes import (
    TRAININGS_BELOW,
    TRAININGS_OF_TOP,
    TRAININGS_TUNED,
    TUNED,
    Full,
    Scaling,
    Size,
)
from metagen.ladder.study import Study, Train
from metagen.trials import Outcome, Trial
from metagen.trials.trial import CONFIG

_TIMED = ((20, 120), (5, 25))  # updates of the short trainings of the smallest and the top rung
_DATA_TRAININGS = 2.5  # Half and twice the data of the middle rung, in its operations.
Report = Callable[[float, float, str], None]  # Share done, its total, and what has ended.


@dataclass(frozen=True)
class Plan:
    """A ladder before its first training.

    Attributes:
        full: The full model, counted.
        rungs: The rungs, counted, from the smallest to the largest.
        rule: The published rule of batch and rate, not yet tuned.
    """

    full: Size
    rungs: tuple[Size, ...]
    rule: Scaling

    def operations(self) -> float:
        """Return about how many operations all trainings take, at most."""
        return math.fsum(rung.flops * samples for rung, samples, _ in self._trainings())

    def seconds(self, update: Callable[[float], float]) -> float:
        """Return about how long they take, from the seconds of an update of some operations."""
        return math.fsum(
            steps * update(rung.flops * samples / steps)
            for rung, samples, steps in self._trainings()
        )

    def content(self) -> dict[str, Any]:
        """Return it for a program."""
        settings = [(each, each.setting(self.rule)) for each in (*self.rungs, self.full)]
        return {
            "operations": self.operations(),
            "sizes": [
                {"size": each.size, "compute": each.compute(made), **made.train()}
                for each, made in settings
            ],
        }

    def _trainings(self) -> list[tuple[Size, float, float]]:
        """Return for each rung the samples and the updates of all its trainings together."""
        middle = self.rungs[len(self.rungs) // 2]
        found: list[tuple[Size, float, float]] = []
        for place, rung in enumerate(self.rungs):
            setting = rung.setting(self.rule)
            times: float = TRAININGS_OF_TOP if rung is self.rungs[-1] else TRAININGS_BELOW
            times += TRAININGS_TUNED if place < TUNED else 0
            times += _DATA_TRAININGS if rung is middle else 0
            found.append((rung, times * setting.batch * setting.steps, times * setting.steps))
        return found


def planned(
    package: Mapping[str, bytes],
    full: Full,
    cache: Cache,
    *,
    number: int,
    largest: float | None,
    share: float,
) -> Plan:
    """Return the plan of a ladder.

    Args:
        package: The files of `code/`.
        full: The full model.
        cache: Where counts are kept.
        number: How many rungs.
        largest: Parameters of the top rung; None for as many as `share` allows.
        share: The share of the full training's operations that all trainings may take.

    Raises:
        UsageError: No sound ladder of these sizes exists.
    """
    rule = Scaling(full.growth)

    def counted(size: Size) -> Size:
        known = trials.counts(package, size.trial(size.setting(rule), 0, None), cache)
        return replace(size, parameters=known["parameters"], flops=known["flops"])

    rungs = [counted(each) for each in sizes.rungs(full, number, largest, share)]
    sizes.must_be_sound(rungs, rule.times(batch=sizes.LEAST_BATCH))
    return Plan(counted(Size(full, full.dims)), tuple(rungs), rule)


def timed(plan: Plan, train: Callable[[Trial], Outcome], data: Path | None) -> Callable[..., float]:
    """Return the seconds of an update by its operations, from short trainings of two rungs."""
    points = []
    for rung, (few, many) in zip((plan.rungs[0], plan.rungs[-1]), _TIMED, strict=True):
        setting = rung.setting(plan.rule)
        short, long = (replace(setting, steps=steps) for steps in (few, many))
        taken = [train(rung.trial(each, 0, data)).seconds for each in (short, long)]
        update = max(1e-4, (taken[1] - taken[0]) / (many - few))
        points.append((rung.flops * setting.batch, update))
    (low, fast), (high, slow) = points
    slope = max(0.0, (slow - fast) / (high - low))
    return lambda operations: max(fast, slow + slope * (operations - high))


def climbed(
    plan: Plan,
    train: Callable[[Trial], Outcome],
    report: Report,
    *,
    name: str,
    seed: int,
    data: Path | None,
    code: str,
) -> Climbed:
    """Train a ladder and fit its law.

    Args:
        plan: The plan.
        train: Trains, or reads from the cache.
        report: Called after each training.
        name: Name of the spec.
        seed: The first seed.
        data: What the user's --data names.
        code: Digest of the package's code.

    Raises:
        UsageError: A rung would read the data too often.
        TaskError: A training failed.
    """
    study = Study(plan.rungs, _reporting(plan, train, report), seed, data)
    first = study.first(plan.rule)
    if split := first.outcome.data["splits"].get("train"):
        sizes.must_be_fresh(plan.rungs, plan.rule, split)
    scaling = study.tuned(plan.rule)
    rungs = study.climbed(scaling)
    checked = study.checked(scaling, rungs[-1].loss)
    if checked != scaling:
        scaling, rungs = checked, study.climbed(checked)
    fit, test = law.fitted(rungs)
    fit = study.with_data(scaling, fit)
    return Climbed(name, plan.full, scaling, rungs, list(study.distinct()), fit, test, code)


def _reporting(plan: Plan, train: Callable[[Trial], Outcome], report: Report) -> Train:
    total, done = plan.operations(), 0.0

    def reporting(trial: Trial, words: str) -> Outcome:
        nonlocal done
        report(min(done, total), total, words)
        outcome = train(trial)
        done += outcome.flops
        report(min(done, total), total, f"{words}: {outcome.val_loss:.4f}")
        return outcome

    return reporting


def code_digest(package: Mapping[str, bytes], full: Full) -> str:
    """Return the sha256 of the code and of the full model's settings."""
    code = {name: files.sha256(data) for name, data in package.items() if name != CONFIG}
    settings = {name: dict(values) for name, values in full.sections.items()}
    return files.sha256(files.canonical([code, settings]).encode())
