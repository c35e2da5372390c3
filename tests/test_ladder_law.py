"""The law of a ladder: what it recovers, how often its intervals cover, and when E is unknown."""

import csv
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from metagen.ladder import law
from metagen.ladder.law import Rung, Target

SIZES = tuple(float(10_000 * 10 ** (n / 4)) for n in range(5))


def made(
    floor: float, *, spread: float = 0.0, seeds: int = 3, draw: int = 0, scale: float = 1.2
) -> list[Rung]:
    """Return rungs of a known law in C = 120 N**2, whose seeds scatter by a share of the loss."""
    generator = np.random.default_rng(draw)
    rungs = []
    for size in SIZES:
        exact = truth(floor, size, scale)
        noise = spread * (size / SIZES[0]) ** -0.5 * generator.standard_normal(seeds)
        rungs.append(Rung(size, 120 * size**2, tuple(map(float, exact * (1 + noise)))))
    return rungs


def truth(floor: float, size: float, scale: float = 1.2) -> float:
    return float(floor + scale * (size / SIZES[-1]) ** -0.28)


def target(size: float) -> Target:
    return Target(size, 120 * size**2)


@pytest.fixture(scope="module")
def measured() -> dict[str, Rung]:
    """Return the rungs of a measured ladder, and two larger models, by their letters."""
    lines = (Path(__file__).parent / "ladder_of_bytes.csv").read_text().splitlines()
    losses = defaultdict(list)
    about = {}
    for row in csv.DictReader(line for line in lines if not line.startswith("#")):
        losses[row["rung"]].append(float(row["loss"]))
        about[row["rung"]] = float(row["size"]), float(row["compute"])
    return {name: Rung(*about[name], tuple(each)) for name, each in losses.items()}


@pytest.mark.parametrize("floor", [0.2, 0.5, 0.9])
def test_a_known_law_is_forecast_within_its_interval(floor: float) -> None:
    fit, test = law.fitted(made(floor, spread=0.001))
    for times in (3, 10):
        forecast = fit.forecast(target(times * SIZES[-1]))
        assert forecast.low <= truth(floor, times * SIZES[-1]) <= forecast.high
    assert abs(test.miss) < 0.02


def test_points_without_noise_are_fitted_by_the_exponent_of_their_law() -> None:
    rungs = made(0.0)
    x = np.array([each.size / SIZES[-1] for each in rungs])
    means = np.array([[each.loss for each in rungs]])
    scale, exponent, squares = law._solved(x, means, 0.01 * means[0], np.zeros(1))
    assert exponent[0] == pytest.approx(0.28, abs=0.003)
    assert scale[0] == pytest.approx(1.2, rel=0.005)
    assert squares[0] < 0.1


def test_rungs_within_a_decade_do_not_identify_e_and_wide_exact_ones_do() -> None:
    noisy = made(0.4, spread=0.03)
    assert not law.is_identified(noisy, 1.0)
    wide = [
        Rung(size, 120 * size**2, (truth(0.4, size), truth(0.4, size) * 1.0001))
        for size in (1e4, 1e5, 1e6, 1e7, 1e8, 1e9)
    ]
    assert law.is_identified(wide, truth(0.4, 1e10))
    low, high = law.floor_interval(wide)
    assert low - 0.02 <= 0.4 <= high + 0.02


def sub_ladders(measured: dict[str, Rung]) -> Iterator[tuple[str, str]]:
    """Yield contiguous rungs, and each larger size from e on."""
    letters = "abcdefg"
    for end in range(3, len(letters)):
        for begin in range(max(0, end - 6), end - 2):
            for larger in letters[max(end, letters.index("e")) :]:
                yield letters[begin:end], larger


def test_intervals_cover_what_was_measured_except_from_the_three_smallest_rungs(
    measured: dict[str, Rung],
) -> None:
    """A ladder of ten seconds to two minutes a rung: 16 of 19 covered, half of them within 6 %."""
    missed, widths = set(), []
    cases = list(sub_ladders(measured))
    for rungs, larger in cases:
        fit = law.drawn([measured[each] for each in rungs])
        goal = measured[larger]
        forecast = fit.forecast(Target(goal.size, goal.compute))
        widths.append(forecast.half_width / forecast.loss)
        if not forecast.low <= goal.loss <= forecast.high:
            missed.add((rungs, larger))
    assert len(cases) == 19
    assert missed == {("abc", "e"), ("abc", "f"), ("abc", "g")}
    assert statistics.median(widths) < 0.065


def test_the_back_test_widens_a_ladder_that_missed_its_own_top_rung(
    measured: dict[str, Rung],
) -> None:
    fit, test = law.fitted([measured[each] for each in "abcd"])
    assert test.miss > 0.04
    assert fit.widening == test.widening > 2
    narrow = law.drawn([measured[each] for each in "abcd"])
    goal = Target(measured["g"].size, measured["g"].compute)
    wide = fit.forecast(goal)
    assert wide.high - wide.loss == pytest.approx(
        fit.widening * (narrow.forecast(goal).high - wide.loss)
    )
    assert law.fitted([measured[each] for each in "abcde"])[0].widening < 1.05


def test_every_forecast_from_four_rungs_or_more_covers_the_larger_models(
    measured: dict[str, Rung],
) -> None:
    for rungs, larger in sub_ladders(measured):
        if len(rungs) >= law.LEAST_RUNGS:
            goal = measured[larger]
            forecast = law.fitted([measured[each] for each in rungs])[0].forecast(
                Target(goal.size, goal.compute)
            )
            assert forecast.low <= goal.loss <= forecast.high, (rungs, larger)


def test_intervals_cover_simulated_laws_as_often_as_they_say() -> None:
    """Of laws whose E lies in the assumed range, at least 7 in 10 are covered, at 10 x the size."""
    covered, trials = 0, 40
    for draw in range(trials):
        floor = float(np.random.default_rng(draw).uniform(0.0, 1.5))
        fit = law.drawn(made(floor, spread=0.008, draw=draw), draws=400)
        forecast = fit.forecast(target(10 * SIZES[-1]))
        covered += forecast.low <= truth(floor, 10 * SIZES[-1]) <= forecast.high
    assert covered >= 0.7 * trials


def test_forecasts_are_the_same_each_time_and_move_with_e() -> None:
    rungs = made(0.4, spread=0.005)
    one, two = (law.fitted(rungs)[0] for _ in range(2))
    far = target(10 * SIZES[-1])
    assert one.forecast(far) == two.forecast(far)
    assert one.forecast(target(SIZES[-1])).half_width < one.forecast(far).half_width
    moved = one.moved_by(far, (0.0, 0.5, 1.0))
    assert moved == sorted(moved)


def test_noise_falls_with_the_size_and_is_assumed_without_repeats() -> None:
    several = law.noise(made(0.0, spread=0.02, seeds=8))
    assert several[0] == pytest.approx(0.02, rel=0.4)
    assert several == sorted(several, reverse=True)
    assert law.noise(made(0.0, seeds=1))[0] == law.ASSUMED_NOISE


def test_too_few_rungs_and_rungs_that_do_not_grow_are_refused() -> None:
    rungs = made(0.4)
    with pytest.raises(ValueError, match="4 rungs or more"):
        law.fitted(rungs[:3])
    with pytest.raises(ValueError, match="more parameters and operations"):
        law.fitted([*rungs[:3], rungs[1]])
