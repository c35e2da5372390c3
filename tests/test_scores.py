"""Scores with intervals, over seeds: what the generated code computes and what documents say."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from metagen import paths
from metagen.docs import scores as shown
from metagen.measure import comparison
from metagen.measure.comparison import BEATS, CANNOT_TELL, LOSES
from metagen.spec import table


@pytest.fixture(scope="module")
def scores() -> Iterator[ModuleType]:
    """The module of code/runtime/ that computes intervals."""
    before = {name: sys.modules.pop(name) for name in [*sys.modules] if name.startswith("runtime")}
    sys.path.insert(0, str(paths.templates()))
    yield importlib.import_module("runtime.scores")
    sys.path.remove(str(paths.templates()))
    for name in [name for name in sys.modules if name.startswith("runtime")]:
        del sys.modules[name]
    sys.modules.update(before)


# The tasks' side: a score and its interval


def test_wilsons_interval_is_that_of_statsmodels(scores: ModuleType) -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    for hits, count in ((0, 20), (20, 20), (513, 556), (1, 3)):
        theirs = proportion.proportion_confint(hits, count, method="wilson")
        assert scores.wilson(hits / count, count) == pytest.approx(theirs, abs=1e-6)


def test_the_bootstrap_of_a_mean_has_the_width_of_its_standard_error(scores: ModuleType) -> None:
    values = np.random.default_rng(1).normal(5, 2, 400)
    made = scores.compared(scores.Mean(values), {}, scores.Samples("rows", 400))
    low, high = made["interval"]
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.1)
    assert low < values.mean() < high
    assert (made["interval_method"], made["interval_n"]) == ("bootstrap", 400)


def test_a_share_of_right_answers_has_wilsons_interval(scores: ModuleType) -> None:
    hits = np.arange(50) < 45
    made = scores.compared(scores.Mean(hits), {}, scores.Samples("images", 50))
    assert made["interval"] == scores.wilson(0.9, 50)
    assert made["interval_method"] == "Wilson"


def test_a_paired_difference_is_surer_than_two_intervals(scores: ModuleType) -> None:
    hard = np.random.default_rng(2).normal(0, 10, 300)
    own, other = scores.Mean(hard + 1), scores.Mean(hard)
    made = scores.compared(own, {"a": other, "b": 0.0}, scores.Samples("rows", 300))
    assert made["differences"]["a"] == pytest.approx((1, 1))
    low, high = made["differences"]["b"]
    assert high - low > 2


def test_samples_of_a_group_are_drawn_together(scores: ModuleType) -> None:
    values = np.repeat(np.random.default_rng(3).normal(size=100), 4)
    groups = np.repeat(np.arange(100), 4)
    alone = scores.compared(scores.Mean(values), {}, scores.Samples("rows", 400))
    grouped = scores.compared(
        scores.Mean(values), {}, scores.Samples("rows", 400, groups, "patients")
    )
    widths = [made["interval"][1] - made["interval"][0] for made in (alone, grouped)]
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.15)
    assert (grouped["interval_unit"], grouped["interval_n"]) == ("patients", 100)


def test_too_few_units_have_no_interval_and_a_reason(scores: ModuleType) -> None:
    made = scores.compared(scores.Mean(np.arange(4)), {}, scores.Samples("stretches", 4))
    assert made["interval"] is None
    assert made["interval_method"] == "none: fewer than 10 stretches"


def test_a_large_split_is_drawn_in_runs_of_neighbours(scores: ModuleType) -> None:
    units, count = scores._units(scores.Samples("bytes", 25_000))
    assert count == scores.MOST_UNITS
    assert units.min() == 0
    assert units.max() == count - 1
    assert set(np.bincount(units)) == {2, 3}


# The build's side: several seeds


@pytest.mark.parametrize(
    ("apart", "interval", "outcome"),
    [
        # The proxy of image_diffusion_small and independent pixels: one image of 556, one seed.
        ([0.0018], [-0.018, 0.022], CANNOT_TELL),
        # The same with four seeds, of which two lose and one ties.
        ([0.0018, -0.004, -0.022, 0.0], [-0.018, 0.022], CANNOT_TELL),
        ([0.05], [0.03, 0.07], BEATS),
        ([-0.05], [-0.07, -0.03], LOSES),
        # A margin that every test split shows, but that the seeds do not.
        ([0.05, 0.01, 0.09], [0.03, 0.07], CANNOT_TELL),
        ([0.05, 0.049, 0.051], [0.03, 0.07], BEATS),
        # One seed that loses.
        ([0.05, 0.05, -0.001, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05], None, CANNOT_TELL),
        # Seeds alone do not tell whether another test split would say the same.
        ([5.0], None, CANNOT_TELL),
        ([5.0, 5.1, 4.9], None, CANNOT_TELL),
    ],
)
def test_the_outcome_needs_every_seed_and_the_interval(
    apart: list[float], interval: list[float] | None, outcome: str
) -> None:
    mean = sum(apart) / len(apart)
    moved = interval and [end - apart[0] + mean for end in interval]
    assert comparison.compared(apart, [moved] * len(apart), higher=True)[0] == outcome
    mirrored = {BEATS: LOSES, LOSES: BEATS}.get(outcome, outcome)
    assert comparison.compared(apart, [moved] * len(apart), higher=False)[0] == mirrored


def test_the_interval_joins_the_split_and_the_seeds() -> None:
    _, joined = comparison.compared([1.0, 2.0, 3.0], [[1.0, 3.5]] * 3, higher=True)
    seeds = 4.303 / math.sqrt(3)
    assert joined == pytest.approx([2 - math.hypot(1, seeds), 2 + math.hypot(1.5, seeds)])


def test_there_is_a_quantile_for_each_number_of_seeds() -> None:
    key = next(key for key in table.table() if key.name == "evaluation.seeds")
    least, most = (key.kind.json[bound] for bound in ("minimum", "maximum"))
    assert set(range(least, most + 1)) == {1, *comparison.STUDENT}
    stats = pytest.importorskip("scipy.stats")
    for count, quantile in comparison.STUDENT.items():
        assert quantile == pytest.approx(stats.t.ppf(0.975, count - 1), abs=1e-3)


def metric(value: float, **more: Any) -> dict[str, Any]:
    given = {"metric": "accuracy", "title": "accuracy", "unit": "share", "higher_is_better": True}
    return {**given, "value": value, "baselines": {"majority": 0.1}, **more}


def test_a_row_holds_mean_spread_and_each_seed() -> None:
    interval = {"interval": [0.8, 1.0], "differences": {"majority": [0.7, 0.9]}}
    reports = {
        seed: {"metrics": [metric(value, **interval)]}
        for seed, value in ((7, 0.9), (8, 0.92), (9, 0.94))
    }
    reports[7]["metrics"].append({**metric(0.5), "metric": "cross-validated"})
    row, once = comparison.rows(reports)
    assert row["value"] == pytest.approx(0.92)
    assert row["spread"] == pytest.approx(0.02)
    assert row["seeds"] == {"7": 0.9, "8": 0.92, "9": 0.94}
    assert row["outcomes"] == {"majority": BEATS}
    assert once["seeds"] == {"7": 0.5}
    assert once["spread"] is None


def test_a_figure_that_is_no_score_beats_nothing() -> None:
    (row,) = comparison.rows({1: {"metrics": [metric(0.5, higher_is_better=None)]}})
    assert row["outcomes"] == {}


# The documents' side


ROW = {
    "status": "measured", "size": "proxy", "origin": "measured",
    "title": "bits per byte", "value": 2.9312, "baselines": {"5-gram": 2.104, "bigram": 3.4464},
    "higher_is_better": False, "spread": 0.0374, "interval": [2.85, 3.01],
    "outcomes": {"bigram": BEATS, "5-gram": LOSES},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({}, "2.93"),
        ({"spread": 0.4}, "2.9"),
        ({"spread": 3.0}, "3"),
        ({"spread": None}, "2.93"),
        ({"spread": 0.0}, "2.93"),
        ({"spread": 0.001, "value": 2.9}, "2.900"),
        ({"spread": None, "interval": None}, "2.931"),
        ({"value": -0.001}, "0.00"),
    ],
)
def test_a_score_has_the_digits_that_the_spread_supports(
    changed: dict[str, Any], text: str
) -> None:
    row = {**ROW, **changed}
    assert shown.write(row["value"], row) == text


def test_the_best_score_is_the_best_whosoever_it_is() -> None:
    assert [shown.is_best(value, ROW) for value in (2.9312, 2.104, 3.4464)] == [False, True, False]
    assert not shown.is_best(2.104, {**ROW, "higher_is_better": None})


def test_a_row_reads_as_a_line() -> None:
    line = "bits per byte 2.93 ± 0.04: beats bigram 3.45, and loses to 5-gram 2.10"
    assert shown.sentence(ROW) == line
    none = {**ROW, "status": "no score", "outcomes": {}, "spread": None, "baselines": {"real": 2.1}}
    assert shown.sentence(none) == "bits per byte 2.93: no score, real 2.10"
    assert shown.sentence({**ROW, "value": None, "status": "not run"}) == "not run"


def test_one_sentence_says_what_is_beaten_and_what_is_not() -> None:
    other = {**ROW, "title": "accuracy", "outcomes": {"bigram": BEATS, "5-gram": CANNOT_TELL}}
    assert (
        shown.judgement([ROW])
        == "On bits per byte, the proxy beats “bigram”, and loses to “5-gram”."
    )
    assert shown.judgement([ROW, {**ROW, "title": "loss"}, other]) == (
        "On bits per byte and loss, the proxy beats “bigram”, and loses to “5-gram”; "
        "on accuracy, it beats “bigram”, and cannot be told from “5-gram”."
    )
    assert shown.judgement([{**ROW, "size": "full"}, {**ROW, "status": "no score"}]) == ""
