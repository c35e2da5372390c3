"""The sentence of a verdict: the words of its relation, one unit, and no more digits than known."""

import pytest
from helpers import docs_fixtures as sample
from helpers import sample_files

from metagen.docs import content, statement
from metagen.docs.facts import Facts
from metagen.families import transformer
from metagen.sizing.measured import NO_LIMIT, Requirement, entry


def said(required, computed, unit, between=None, formula="why"):
    row = entry("x", computed, unit, formula, "source", required, None, between)
    return statement.sentence(row).replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("required", "computed", "unit", "sentence"),
    [
        (
            Requirement(4.78235e22, 4.78235e22, "delivered"), 9.5935e22, "FLOP",
            "95.9 ZFLOP needed; the declared hardware delivers 47.8 ZFLOP",
        ),
        (
            Requirement("real-time", 0.1), 0.2437, "s",
            "244 ms; the spec allows at most 100 ms (real-time)",
        ),
        (
            Requirement(16_000_000_000, 16e9), 14_242_521_088, "bytes",
            "14.2 GB; the spec allows at most 16 GB",
        ),
        (
            Requirement(21_600_000_000, 21.6e9, "available"), 14_242_521_088, "bytes",
            "14.2 GB; the device has 21.6 GB available",
        ),
        (
            Requirement("120 tok/s", 120.0, "required"), 133.41, "tok/s",
            "133 tok/s; the spec requires at least 120 tok/s",
        ),
        # One unit a row: minutes beside minutes, milliseconds beside milliseconds.
        (
            Requirement("90 minutes", 0.0625), 0.0475, "days",
            "68.4 minutes; the spec allows at most 90 minutes",
        ),
        (
            Requirement("1 day", 1.0), 5.5e-9, "days",
            "0.475 ms; the spec allows at most 1 day",
        ),
        (Requirement("5ms", 0.005), 0.00031, "s", "0.310 ms; the spec allows at most 5 ms"),
        # What is far from its limit has a unit of its own.
        (
            Requirement("real-time", 0.1), 3870.0, "s",
            "3,870 s; the spec allows at most 100 ms (real-time)",
        ),
        (Requirement("1 day", 1.0), 1.35e-7, "days", "11.7 ms; the spec allows at most 1 day"),
        (NO_LIMIT, 81543.168, "kWh", "81,500 kWh"),
        (NO_LIMIT, 2.04e-6, "kWh", "2.04 mWh"),
        (NO_LIMIT, 2e-6, "graphs per parameter", "2.00e-6 graphs per parameter"),
        (Requirement("batch", None, None), 0.363, "s", "363 ms; batch sets no limit"),
    ],
)  # fmt: skip
def test_each_relation_has_its_words(required, computed, unit, sentence):
    assert said(required, computed, unit) == sentence


def test_a_range_is_written_with_two_digits():
    rate = Requirement("120 tok/s", 120.0, "required")
    assert said(rate, 111.2, "tok/s", (88.6, 133.4)) == (
        "about 110 tok/s (89 to 130 tok/s); the spec requires at least 120 tok/s"
    )


def test_what_is_not_computed_says_why():
    rate = Requirement("120 tok/s", 120.0, "required")
    sentence = "the spec requires at least 120 tok/s; no device is declared"
    assert said(rate, None, "tok/s", formula="no device is declared") == sentence


def test_nothing_finite_is_infinite():
    window = Requirement("infinite", None, "required")
    formula = "8,192 tokens configured; trained on 8,192"
    assert said(window, 8192, "tokens", formula=formula) == (
        f"the spec requests infinite; {formula}"
    )


def test_the_figure_of_memory_over_the_context_holds_the_declared_requests():
    facts = [Facts(sample.desk({"constraints.batch": batch})) for batch in (1, 4)]
    one, four = (content.memory_over_context(each)[0] for each in facts)
    length = facts[0].get("flops.points").value[0]["length"]
    cache = transformer.cache_bytes(sample_files.DIMS, length, sample_files.INFER["cache_bits"])
    assert four - one == 3 * cache


def test_a_range_has_the_unit_of_its_estimate():
    row = {"constraint": "training_time", "relation": "available", "required": "3 days"}
    row |= {"unit": "days", "limit": 3, "computed": 7.7 / 1440, "low": 5.2 / 1440}
    told = statement.computed(row | {"high": 22 / 1440}).replace("\u00a0", " ")
    assert told == "about 7.7 minutes (5.2 to 22 minutes)"
