"""Facts are the only door from numbers to prose."""

from __future__ import annotations

import pytest
from helpers import docs_fixtures as sample
from helpers.fake_desk import FakeDesk

from metagen.docs import render, wording
from metagen.docs.fact import Fact, MissingFact
from metagen.docs.facts import Facts
from metagen.errors import TaskError


def facts(**changed: object) -> Facts:
    return Facts(sample.desk(**changed))


@pytest.mark.parametrize(
    ("value", "unit", "style", "text"),
    [
        (8_030_261_248, "parameters", "full", "8,030,261,248 parameters"),
        (8_030_261_248, "parameters", "short", "8.03 B"),
        (8_030_261_248, "parameters", "bare", "8,030,261,248"),
        (999_999, "parameters", "short", "1.00 M"),
        (999_600_000, "parameters", "short", "1.00 B"),
        (412, "parameters", "short", "412"),
        (1, "tokens", "full", "1 token"),
        (262_144, "tokens", "short", "256k tokens"),
        (1_048_576, "tokens", "short", "1M tokens"),
        (1000, "tokens", "short", "1,000 tokens"),
        (16_000_000_000, "bytes", "short", "16.0 GB"),
        (131_072, "bytes", "full", "131,072 bytes"),
        (1.61e10, "FLOP", "short", "16.1 GFLOP"),
        (9.7e23, "FLOP", "short", "970 ZFLOP"),
        (2.34567, "bit/byte", "full", "2.346 bit/byte"),
        (0.9974, "share", "full", "99.7%"),
        (0.000097, "share", "full", "0.0097%"),
        (0, "share", "full", "0.0%"),
        (1e-05, "", "bare", "1e-5"),
        (3.7957e-05, "", "bare", "3.796e-5"),
        (2.5e18, "", "bare", "2.5e18"),
        (-0.02676, "", "bare", "\u22120.02676"),
        (-12.63, "share", "full", "\u22121,260%"),
        (-0.1, "share", "full", "\u221210.0%"),
        (1e-12, "", "bare", "1e-12"),
        (3e-4, "", "bare", "0.0003"),
        (500000.0, "", "bare", "500,000"),
        (True, "", "full", "yes"),
        (False, "", "direction", "lower is better"),
        ("memory_budget", "", "words", "memory budget"),
        (("a", "b"), "", "full", "a, b"),
    ],
)
def test_a_value_reads_as_people_write_it(value, unit, style, text):
    assert wording.write(value, unit, style).replace(wording.SPACE, " ") == text


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        (
            "6 x 7,994 x 2e+12 tokens = 9.594e+22",
            "6 \u00d7 7,994 \u00d7 2 \u00d7 10¹² tokens = 9.594 \u00d7 10²²",
        ),
        ("1e+07 / 11,997,410 = 0.8335", "10⁷ / 11,997,410 = 0.8335"),
        ("3.8e-05 s, -5 of (-3)", "3.8 \u00d7 10⁻⁵ s, \u22125 of (\u22123)"),
        (
            "1,995 <= 2,000 in updates of 256 x 8,192",
            "1,995 ≤ 2,000 in updates of 256 \u00d7 8,192",
        ),
        (
            "Llama-3.1-8B, arXiv:2001.08361, 0.5e and 4090",
            "Llama-3.1-8B, arXiv:2001.08361, 0.5e and 4090",
        ),
        ("RTX-4090, 8xH100, 2024-05-01", "RTX-4090, 8xH100, 2024-05-01"),
    ],
)
def test_arithmetic_is_set_as_in_print(text, printed):
    assert wording.arithmetic(text).replace(wording.SPACE, " ") == printed


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        (
            "1 pre-norm blocks of width 4, and 11 blocks",
            "1 pre-norm block of width 4, and 11 blocks",
        ),
        ("1 query heads share 8 key-value heads", "1 query head shares 8 key-value heads"),
        ("1 blocks follow", "1 block follows"),
        ("1 entries, 1 classes, 1 patches", "1 entry, 1 class, 1 patch"),
        ("forward of 1 pairs in 1 days", "forward of 1 pair in 1 day"),
        (
            "0.1 layers, layer 1 has 2 layers, x1 blocks",
            "0.1 layers, layer 1 has 2 layers, x1 blocks",
        ),
    ],
)
def test_one_of_a_thing_is_singular(text, printed):
    assert wording.agreeing(text) == printed


def test_only_texts_with_arithmetic_are_changed():
    rows = [{"formula": "2 x 3e+12 = 6e+12"}]
    door = facts(constraints=rows, keys={"description": "a 2 x 3e+12 model"})
    assert door.text("constraints.0.formula").startswith("2 \u00d7 3")
    assert door.text("spec.description") == "a 2 x 3e+12 model"


def test_a_fact_carries_its_value_unit_and_source():
    found = facts().get("params.total")
    assert found == Fact("params.total", 7979929600, "parameters", "blueprint/params.json: total")


def test_a_record_says_the_unit_of_its_own_figures():
    assert facts().get("constraints.2.computed").unit == "bytes"
    assert facts().get("results.0.baselines.5-gram").unit == "bit/byte"


def test_a_list_is_walked_by_address_and_chosen_from_by_its_entries():
    rows = facts().each("constraints", verdict="violated")
    names = [facts().get(row / "constraint").value for row in rows]
    assert names == ["memory_budget", "throughput"]


def test_entries_that_share_a_value_are_named_once():
    rows = facts().distinct("results", "dataset", status="measured")
    assert [str(row) for row in rows] == ["results.0"]


def test_an_entry_of_a_declared_list_is_a_fact():
    assert facts().get("spec.evaluation.benchmarks.1").value == "HellaSwag"


@pytest.mark.parametrize(
    "name", ["params.nothing", "params.total.deeper", "results.9.value", "nofile.x", "derived.no"]
)
def test_a_fact_that_nobody_wrote_is_missing(name):
    with pytest.raises(MissingFact):
        facts().get(name)


def test_what_nobody_declared_or_measured_says_so():
    door = facts(keys={"training.data.size": None})
    assert door.text("spec.training.data.size") == "not declared"
    assert door.text("spec.evaluation.metrics") == "not declared"
    assert door.text("constraints.1.required") == "not declared"
    assert door.text("results.2.value") == "not measured"


def test_everything_printed_is_recorded_in_order():
    door = facts()
    door.text("params.total", "short")
    door.label(door.each("params.by_module")[0])
    assert [item.text for item in door.printed] == [f"7.98{wording.SPACE}B", "embed_tokens"]


class _Templates(FakeDesk):
    """A desk with templates of its own."""

    def __init__(self, **templates: str) -> None:
        super().__init__(sample.package(), sample.KEYS)
        self.templates = {f"templates/{name}.md": text for name, text in templates.items()}

    def source(self, name: str) -> bytes:
        found = self.templates.get(name)
        return found.encode() if found is not None else super().source(name)


def test_a_missing_fact_stops_the_build_and_names_the_line():
    desk = _Templates(
        page='# Title\n\n{% include "part.md" %}\n', part='\n{{ fact("params.no") }}\n'
    )
    with pytest.raises(TaskError) as caught:
        render.markdown(desk, "page.md")
    (problem,) = caught.value.problems
    assert problem.place == "templates/part.md:2"
    assert "blueprint/params.json has no entry `no`" in problem.sentence


def test_an_undefined_name_stops_the_build_and_names_the_line():
    with pytest.raises(TaskError, match=r"templates/page.md:1: 'total' is undefined"):
        render.markdown(_Templates(page="{{ total }}"), "page.md")


def test_a_broken_template_stops_the_build_and_names_the_line():
    with pytest.raises(TaskError, match=r"page.md:2"):
        render.markdown(_Templates(page="\n{% for %}"), "page.md")


def test_unknown_components_are_a_fact():
    parts = ({"name": "Mixer", "type": "ssm"}, {"name": "Body", "type": "transformer_decoder"})
    found = facts(keys={"architecture.components": parts}).get("derived.unknown_components")
    assert found.value == ("Mixer (ssm)",)
