"""The search: exact, within budget, deterministic, quick, and the user's pins hold."""

import math
import subprocess
import sys
import time
from pathlib import Path

import pytest
from blueprint_desk import PlainDesk
from hypothesis import given, settings
from hypothesis import strategies as st

from metagen import families, paths
from metagen.blueprint import need, sizing
from metagen.errors import SpecError
from metagen.families import decoder
from metagen.families.family import Need
from metagen.units import INFINITE

TREND = decoder.fit(paths.source("data/published_models.csv").read_bytes())
FAMILY = families.load(families.FAMILIES["decoder"])


def wanted(parameters, memory=None, context=4096, **pins):
    return Need(parameters, math.ceil(sizing.FILL * parameters), memory, context, pins)


def search(*args, **kwargs):
    return sizing.search(FAMILY, wanted(*args, **kwargs), TREND)


@settings(max_examples=60, deadline=None)
@given(st.floats(7, 11).map(lambda power: int(10**power)), st.sampled_from([512, 8192, 2**18]))
def test_any_budget_from_ten_million_to_a_hundred_billion_is_filled_and_never_exceeded(
    budget, context
):
    design = search(budget, context=context)
    assert 0.97 * budget <= design.parameters <= budget
    assert design.parameters == decoder.count(design.dims)
    assert all(rule.holds(design.dims) for rule in decoder.rules)
    assert all(type(value) is decoder.dims[name] for name, value in design.dims.items())


@pytest.mark.parametrize("budget", [1e5, 1e6, 10e6, 350e6, 8e9, 12e9, 70e9])
def test_the_shape_stays_near_published_models(budget):
    dims = search(int(budget)).dims
    body = decoder.count(dims) - decoder.embedding_count(dims)
    for name in ("d_model", "n_layers", "head_dim"):
        assert TREND.lines[name].distance(body, dims[name]) < 4  # two usual deviations


@pytest.mark.parametrize("budget", [1, 10, 1000, 20_000, 10**15])
@pytest.mark.parametrize("memory", [None, 1, 10**9])
def test_absurd_budgets_still_get_their_nearest_candidate_in_time(budget, memory):
    started = time.process_time()
    design = search(budget, memory=memory, context=INFINITE)
    assert time.process_time() - started < 0.3
    assert design.parameters == decoder.count(design.dims)


@pytest.mark.parametrize("spec", sorted(paths.specs().glob("text/*.yaml")), ids=lambda p: p.stem)
def test_each_example_spec_is_filled_in_under_300_ms(spec, tmp_path):
    desk = PlainDesk.of(spec)
    started = time.process_time()
    goal = need.goal(desk, FAMILY)
    design = sizing.search(FAMILY, goal.needs[0], TREND)
    assert time.process_time() - started < 0.3
    budget = desk.key("constraints.parameter_budget.max")
    assert 0.97 * budget <= design.parameters <= budget


def test_the_same_need_gives_the_same_design():
    assert search(8 * 10**9) == search(8 * 10**9)


def test_pinned_dimensions_hold_and_the_rest_moves_around_them():
    pins = {"n_layers": 20, "d_model": 4096, "vocab_size": 32000, "tie_embeddings": True}
    design = search(8 * 10**9, **pins)
    assert {name: design.dims[name] for name in pins} == pins
    assert 0.97 * 8e9 <= design.parameters <= 8e9


def test_a_published_model_comes_back_when_all_but_its_feed_forward_width_is_pinned():
    design = search(
        8_030_261_248, d_model=4096, n_layers=32, n_heads=32, n_kv_heads=8, head_dim=128,
        vocab_size=128256, tie_embeddings=False,
    )  # fmt: skip
    assert design.dims["d_ff"] == 14336
    assert design.parameters == 8_030_261_248


def test_pins_that_alone_exceed_the_budget_are_kept_and_the_count_shows_it():
    design = search(10**9, d_model=8192, n_layers=80)
    assert design.dims["d_model"] == 8192
    assert design.parameters > 10**9


def test_fewer_key_value_heads_are_taken_where_they_make_the_cache_fit():
    roomy = search(8 * 10**9, context=131_072)
    tight = search(8 * 10**9, memory=24 * 10**9, context=131_072)
    cache = decoder.cache_bytes(roomy.dims, 131_072)
    assert 2 * roomy.parameters + cache > 24e9
    assert tight.fits_memory
    assert 2 * tight.parameters + decoder.cache_bytes(tight.dims, 131_072) <= 24e9


def test_memory_that_no_candidate_meets_leaves_the_count_within_the_budget():
    design = search(8 * 10**9, memory=16 * 10**9, context=262_144)
    assert not design.fits_memory
    assert 0.97 * 8e9 <= design.parameters <= 8e9


@pytest.mark.parametrize("memory", [30 * 10**9, 48 * 10**9, 73_600_000_000])
def test_an_infinite_context_is_the_largest_power_of_two_that_the_memory_holds(memory):
    design = search(12 * 10**9, memory=memory, context=INFINITE)
    window = design.dims["max_seq_len"]
    weights = 2 * design.parameters
    assert window & (window - 1) == 0
    assert weights + decoder.cache_bytes(design.dims, window) <= memory
    assert weights + decoder.cache_bytes(design.dims, 2 * window) > memory


def pinned(text, tmp_path):
    return need.pins(PlainDesk(text, tmp_path).key("architecture.dims"), FAMILY)


def test_a_pin_gets_the_type_of_the_models_config(tmp_path):
    pins = pinned("architecture: {dims: {rope_theta: 500000, n_layers: 12}}\n", tmp_path)
    assert pins == {"rope_theta": 500000.0, "n_layers": 12}
    assert type(pins["rope_theta"]) is float


def test_a_pin_of_an_unknown_dimension_names_the_nearest():
    with pytest.raises(SpecError, match="did you mean n_kv_heads"):
        need.pins({"n_kv_head": 8}, FAMILY)


def test_contradictory_pins_are_an_error_that_names_both():
    with pytest.raises(SpecError, match="n_heads: 12 and n_kv_heads: 5 contradict"):
        need.pins({"n_heads": 12, "n_kv_heads": 5}, FAMILY)


@pytest.mark.parametrize(
    ("name", "value"),
    [("d_model", 0), ("d_model", 1.5), ("n_layers", True), ("tie_embeddings", 1), ("d_ff", "big")],
)
def test_a_pin_of_the_wrong_type_names_what_is_allowed(name, value):
    with pytest.raises(SpecError, match="allowed is"):
        need.pins({name: value}, FAMILY)


def test_every_wrong_pin_is_named_at_once():
    with pytest.raises(SpecError) as error:
        need.pins({"width": 4, "d_ff": -1}, FAMILY)
    assert len(error.value.problems) == 2


def test_pins_that_leave_no_candidate_are_named():
    with pytest.raises(SpecError, match="d_model: 100, head_dim: 100, n_kv_heads: 7"):
        search(10**9, d_model=100, head_dim=100, n_kv_heads=7)


def test_sizing_imports_neither_torch_nor_matplotlib():
    program = (
        "import sys, metagen.blueprint, metagen.measure, metagen.families.decoder\n"
        "print([m for m in ('torch', 'matplotlib', 'fvcore', 'numpy') if m in sys.modules])"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
