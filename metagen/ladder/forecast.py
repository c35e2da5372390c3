"""forecast.json: what a ladder says of the full model, registered before the full run.

It holds the method, each training, the digests of data and code, and the time. A later ladder of
the same folder that says something else does not replace it, unless the user asks for that; the old
one then stays beside it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from metagen import files
from metagen.errors import Problem, UsageError
from metagen.ladder import law
from metagen.ladder.law import BackTest, Interval, Law, Target
from metagen.ladder.sizes import MOST_EPOCHS, Full, Scaling, Setting, Size
from metagen.ladder.study import Run
from metagen.trained.forecast import KIND, METRIC

FILE = "forecast.json"
SHARES_OF_E = (0.0, 1 / 3, 2 / 3, 1.0)  # Places in the range that E is drawn from.
CURVE_POINTS = 24
MOST_BYTES = 2**24


@dataclass(frozen=True)
class Climbed:
    """A ladder whose trainings have ended.

    Attributes:
        name: Name of the spec.
        full: The full model as the ladder would train it, counted.
        scaling: The rule of batch and rate, tuned and checked.
        rungs: The rungs with the losses of their seeds.
        runs: Each training.
        law: The fit.
        test: The back-test.
        code: Digest of the package's code.
    """

    name: str
    full: Size
    scaling: Scaling
    rungs: Sequence[law.Rung]
    runs: Sequence[Run]
    law: Law
    test: BackTest
    code: str

    @property
    def plan(self) -> Full:
        return self.full.full

    @property
    def setting(self) -> Setting:
        """How the forecast training of the full model goes."""
        return self.full.setting(self.scaling)

    @property
    def target(self) -> Target:
        return Target(self.full.size, self.full.compute(self.setting))


def content(ladder: Climbed, now: datetime | None = None) -> dict[str, Any]:
    """Return the content of forecast.json."""
    first = ladder.runs[0].outcome
    return {
        "kind": KIND,
        "registered": f"{(now or datetime.now(UTC)).replace(microsecond=0).isoformat()}",
        "model": _model(ladder),
        "metric": {"name": METRIC, "unit": ladder.plan.family.words.loss_unit},
        "forecast": _interval(ladder.law.forecast(ladder.target)),
        "reach": _reach(ladder),
        "alternatives": list(_alternatives(ladder)),
        "floor": _floor(ladder),
        "back_test": _back_test(ladder.test),
        "noise": ladder.law.noise,
        "rule": _rule(ladder.scaling),
        "assumptions": _assumptions(ladder),
        "curve": _curve(ladder),
        "rungs": [_rung(each) for each in ladder.rungs],
        "runs": [run.content() for run in ladder.runs],
        "data": {"name": first.data["name"], "sha256": first.data["sha256"]},
        "code": ladder.code,
    }


def _model(ladder: Climbed) -> dict[str, Any]:
    setting, full = ladder.setting, ladder.full
    return {
        "name": ladder.name,
        "family": ladder.plan.family.name,
        "dims": dict(full.dims),
        "parameters": full.parameters,
        "size": full.size,
        "size_unit": ladder.plan.family.size_unit,
        "compute": full.compute(setting),
        "units": full.units(setting),
        "unit": ladder.plan.family.task.training_unit,
        "settings": setting.train(),
        "planned": {
            name: ladder.plan.sections["train"][name] for name in ("batch_size", "learning_rate")
        },
    }


def _interval(found: Interval) -> dict[str, Any]:
    return {**found._asdict(), "level": law.LEVEL}


def _reach(ladder: Climbed) -> dict[str, float]:
    """Return how many times the top rung's parameters and operations the full model has."""
    top, target = ladder.rungs[-1], ladder.target
    return {"size": target.size / top.size, "compute": target.compute / top.compute}


def _alternatives(ladder: Climbed) -> list[dict[str, Any]]:
    """Return what half and twice the compute, on the dial, and the data alone would give."""
    size, compute = ladder.target
    found = []
    for factor, word in ((0.5, "half"), (2.0, "twice")):
        # On the dial, operations grow like N to the slope of the ladder.
        scaled = size * factor ** (1 / ladder.law.slopes["compute"])
        interval = ladder.law.forecast(Target(scaled, factor * compute))
        change = f"{word} the compute, in a model of {scaled:,.0f} {ladder.plan.family.size_unit}"
        found.append({"change": change, **_interval(interval)})
        interval = ladder.law.forecast(ladder.target, factor)
        change = f"{word} the data, in a model of the same size"
        found.append({"change": change, **_interval(interval)})
    return found


def _floor(ladder: Climbed) -> dict[str, Any]:
    forecast = ladder.law.forecast(ladder.target).loss
    intervals = {axis: law.floor_interval(ladder.rungs, axis) for axis in law.AXES}
    return {
        "identified": law.is_identified(ladder.rungs, forecast),
        "drawn": [0.0, law.E_SHARE * ladder.rungs[-1].loss],
        "low": min(low for low, _ in intervals.values()),
        "high": max(high for _, high in intervals.values()),
        "moved": dict(
            zip(
                (f"{share:.2f}" for share in SHARES_OF_E),
                ladder.law.moved_by(ladder.target, SHARES_OF_E),
                strict=True,
            )
        ),
    }


def _back_test(test: BackTest) -> dict[str, Any]:
    return {
        "forecast": _interval(test.forecast),
        "measured": test.loss,
        "miss": test.miss,
        "widening": test.widening,
    }


def _rule(scaling: Scaling) -> dict[str, Any]:
    growth = scaling.growth
    return {
        "source": growth.source,
        "cite": growth.cite,
        "batch_power": growth.batch_power + scaling.batch_power,
        "rate_power": growth.rate_power + scaling.rate_power,
        "batch_factor": scaling.batch,
        "rate_factor": scaling.rate,
        "refitted": bool(scaling.batch_power or scaling.rate_power),
    }


def _assumptions(ladder: Climbed) -> list[str]:
    setting = ladder.setting
    unit = ladder.plan.family.task.training_unit
    units = ladder.full.units(setting)
    found = [
        f"The full model trains on {units:,} {unit} in {setting.steps:,} updates of "
        f"{setting.batch:,} samples, at a peak rate of {setting.rate:g} that decays to its end.",
        "The law of the rungs holds as far as the full model: nothing here can test that.",
    ]
    train = ladder.runs[0].outcome.data["splits"].get("train")
    if train and units > train:
        found.append(
            f"The full training reads the data {units / train:.3g} times; the forecast is of new "
            f"data, which {MOST_EPOCHS} readings are about as good as."
        )
    return found


def _curve(ladder: Climbed) -> list[dict[str, float]]:
    """Return the forecasts along the dial, from the smallest rung to the full model."""
    slope = ladder.law.slopes["compute"]
    low, top, high = ladder.rungs[0].compute, ladder.rungs[-1], ladder.target.compute
    ratio = max(high, 2 * top.compute) / low
    points = []
    for step in range(CURVE_POINTS + 1):
        compute = low * ratio ** (step / CURVE_POINTS)
        size = top.size * (compute / top.compute) ** (1 / slope)
        points.append({"compute": compute, **ladder.law.forecast(Target(size, compute))._asdict()})
    return points


def _rung(rung: law.Rung) -> dict[str, Any]:
    return {
        "size": rung.size,
        "compute": rung.compute,
        "losses": list(rung.losses),
        "loss": rung.loss,
        "spread": rung.spread,
    }


def registered(folder: Path, made: dict[str, Any], *, replace: bool) -> tuple[dict[str, Any], bool]:
    """Register a forecast; return the one that counts from now on, and whether it is new.

    Args:
        folder: The folder of the ladder.
        made: The content.
        replace: Whether the user wants it in place of another one, which stays as
            `forecast.<n>.json`.

    Raises:
        UsageError: Another forecast is registered, and the user has not asked to replace it.
    """
    path = folder / FILE
    if path.exists():
        known = read(path)
        if _same(known, made):
            return known, False
        if not replace:
            sentence = f"A forecast of {known['registered']} is registered here, and this ladder "
            hint = "name another --out, or add --replace, which keeps the old one beside it"
            raise UsageError(Problem(f"{sentence}says something else.", str(path), hint))
        path.rename(_free(path))
    files.write_atomic(path, files.json_bytes(made), folder)
    return made, True


def _same(known: Mapping[str, Any], made: Mapping[str, Any]) -> bool:
    """Tell whether two forecasts differ in nothing but when they were made and how long it took."""
    one, two = (json.loads(json.dumps(dict(each))) for each in (known, made))
    for each in (one, two):
        each.pop("registered")
        for run in each["runs"]:
            run.pop("seconds")
    return bool(one == two)


def _free(path: Path) -> Path:
    number = 1
    while path.with_name(f"forecast.{number}.json").exists():
        number += 1
    return path.with_name(f"forecast.{number}.json")


def read(path: Path) -> dict[str, Any]:
    """Return a registered forecast.

    Raises:
        UsageError: It is no such file, or its numbers are none.
    """
    try:
        found = json.loads(files.read_plain(path, MOST_BYTES))
    except OSError as error:
        sentence = f"The forecast cannot be read: {error.strerror}."
        hint = "register one first: metagen ladder SPEC"
        raise UsageError(Problem(sentence, str(path), hint)) from None
    except (ValueError, RecursionError):
        found = None
    if not is_forecast(found):
        hint = "name the folder that metagen ladder wrote"
        raise UsageError(Problem("This is no forecast of a ladder.", str(path), hint))
    return dict(found)


def is_forecast(found: Any) -> bool:
    """Tell whether some JSON is a forecast whose main numbers are sound."""
    if not isinstance(found, dict) or found.get("kind") != KIND:
        return False
    numbers = found.get("forecast")
    return isinstance(numbers, dict) and all(
        isinstance(numbers.get(name), int | float) and math.isfinite(numbers[name])
        for name in ("loss", "low", "high")
    )
