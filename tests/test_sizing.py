"""The search: exact, within budget, deterministic, quick, and the user's pins hold."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.plain_desk import PlainDesk
from hypothesis import given, settings
from hypothesis import strategies as st

from metagen import families, paths
from metagen.errors import SpecError
from metagen.families import transformer
from metagen.families.decoder import FAMILY as decoder
from metagen.families.demand import Limit, Need
from metagen.sizing import search
from metagen.sizing.need import FILL, needs
from metagen.spec import load
from metagen.units import INFINITE

PUBLISHED = paths.source("families/decoder.csv").read_bytes()
FAMILY = families.named("decoder")
MOST_CANDIDATES = 10_000  # which take well below a second: benchmarks/sizing.py


def memory(allowed):
    """Return a limit on the bytes of weights, cache and activations."""
    return Limit("memory", allowed, lambda demand: demand.memory, str, "")


def request_of(parameters, allowed=None, context=4096, **pins):
    limits = () if allowed is None else (memory(allowed),)
    return Need(parameters, math.ceil(FILL * parameters), limits, context, pins)


def design_of(*args, **kwargs):
    request = request_of(*args, **kwargs)
    return search.search(FAMILY, request, decoder.fit(PUBLISHED, request.budget))


@settings(max_examples=60, deadline=None)
@given(st.floats(7, 11.5).map(lambda p: int(10**p)), st.sampled_from([512, 8192, 2**18]))
def test_any_budget_from_ten_million_to_hundreds_of_billions_is_filled_and_never_exceeded(
    budget, context
):
    design = design_of(budget, context=context)
    assert 0.99 * budget <= design.parameters <= budget
    assert design.parameters == decoder.count(design.dims)
    assert not any(rule.broken(design.everything) for rule in decoder.rules)
    kinds = {**decoder.dims, **decoder.formats}
    assert all(type(value) is kinds[name] for name, value in design.everything.items())


@settings(max_examples=30, deadline=None)
@given(st.floats(7, 11).map(lambda p: int(10**p)), st.floats(-1, 2), st.sampled_from([512, 2**17]))
def test_a_design_that_claims_to_fit_fits_and_is_never_over_the_budget(budget, scale, context):
    allowed = int(budget * 2 * 10**scale)
    design = design_of(budget, allowed, context=context)
    assert design.fits == (FAMILY.demand(design.everything).memory <= allowed)
    assert design.parameters <= budget


@pytest.mark.parametrize("budget", [1e5, 1e6, 10e6, 350e6, 8e9, 12e9, 70e9])
def test_the_shape_stays_near_published_models(budget):
    dims, trend = design_of(int(budget)).dims, decoder.fit(PUBLISHED, int(budget))
    body = decoder.count(dims) - transformer.embedding_count(dims)
    for name in ("d_model", "n_layers", "head_dim"):
        assert 0.6 < dims[name] / trend.lines[name].at(body) < 1.6


@pytest.mark.parametrize("budget", [1, 10, 1000, 20_000, 10**15])
@pytest.mark.parametrize("allowed", [None, 1, 10**9])
def test_absurd_budgets_still_get_their_nearest_of_a_few_candidates(budget, allowed):
    design = design_of(budget, allowed, context=INFINITE)
    assert design.candidates < MOST_CANDIDATES
    assert design.parameters == decoder.count(design.dims)


SPECS = [
    p for p in sorted(paths.specs().rglob("*.yaml")) if families.route(load(p).key) == "decoder"
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda p: p.stem)
def test_each_example_spec_is_filled_by_one_of_a_few_candidates(spec):
    desk = PlainDesk.of(spec)
    design = search.solve(FAMILY, needs(desk, FAMILY), PUBLISHED).design
    assert design.candidates < MOST_CANDIDATES
    budget = desk.key("constraints.parameter_budget.max")
    assert 0.99 * budget <= design.parameters <= budget


def test_the_same_need_gives_the_same_design():
    assert design_of(8 * 10**9, 16 * 10**9, 2**17) == design_of(8 * 10**9, 16 * 10**9, 2**17)


def test_pinned_dimensions_hold_and_the_rest_moves_around_them():
    pins = {"n_layers": 20, "d_model": 4096, "vocab_size": 32000, "tie_embeddings": True}
    design = design_of(8 * 10**9, **pins)
    assert {name: design.dims[name] for name in pins} == pins
    assert 0.99 * 8e9 <= design.parameters <= 8e9


def test_a_pinned_format_or_window_holds_though_another_would_fit_better():
    pins = {"weight_bits": 16, "window": 2048}
    design = design_of(8 * 10**9, 16 * 10**9, 131_072, **pins)
    assert {name: design.everything[name] for name in pins} == pins
    assert design.dims["global_every"] > 1
    assert not design.fits  # 16 GB of weights alone


def test_a_published_model_comes_back_when_all_but_its_feed_forward_width_is_pinned():
    design = design_of(
        8_030_261_248, d_model=4096, n_layers=32, n_heads=32, n_kv_heads=8, head_dim=128,
        vocab_size=128256, tie_embeddings=False,
    )  # fmt: skip
    assert design.dims["d_ff"] == 14336
    assert design.parameters == 8_030_261_248


def test_pins_that_alone_exceed_the_budget_are_kept_and_the_count_shows_it():
    design = design_of(10**9, d_model=8192, n_layers=80)
    assert design.dims["d_model"] == 8192
    assert design.parameters > 10**9


def test_nothing_is_given_up_where_everything_fits():
    design = design_of(8 * 10**9, 30 * 10**9, 8192)
    assert design.formats == {"weight_bits": 16, "cache_bits": 16}
    assert "global_every" not in design.dims
    assert design.dims == design_of(8 * 10**9, context=8192).dims


@pytest.mark.parametrize(
    ("budget", "allowed", "context", "pulled"),
    [
        (8e9, 12e9, 4096, {"weight_bits": 8}),
        (8e9, 6.5e9, 4096, {"weight_bits": 4}),
        (8e9, 25e9, 131_072, {"weight_bits": 16, "window": 4096}),
        (8e9, 16e9, 262_144, {"window": 4096}),
    ],
)
def test_the_mildest_lever_that_makes_it_fit_is_pulled(budget, allowed, context, pulled):
    design = design_of(int(budget), int(allowed), context)
    assert design.fits
    assert {name: design.everything.get(name) for name in pulled} == pulled


def test_each_lever_that_was_pulled_is_needed():
    request = request_of(8 * 10**9, 12 * 10**9, 262_144)
    trend = decoder.fit(PUBLISHED, request.budget)
    design, axes = search.search(FAMILY, request, trend), decoder.axes(request, trend)
    levers = [axis.name for axis in axes if axis.price]
    changed = {name: search.put_back(axes, design.everything, {}, name) for name in levers}
    pulled = {n: d for n, d in changed.items() if d.get(n) != design.everything.get(n)}
    assert design.fits
    assert len(pulled) >= 2
    assert all(request.excess(FAMILY.demand(dims)) > 0 for dims in pulled.values())


def test_a_lever_put_back_leaves_what_is_pinned():
    pins = {"vocab_size": 128_256, "d_ff": 6000, "n_layers": 20}
    request = request_of(3 * 10**9, 4 * 10**9, 65_536, **pins)
    trend = decoder.fit(PUBLISHED, request.budget)
    design, axes = search.search(FAMILY, request, trend), decoder.axes(request, trend)
    plain = search.put_back(axes, design.everything, request.pins, "global_every")
    assert "global_every" in design.dims
    assert not {"global_every", "window"} & set(plain)
    others = set(design.everything) - {"global_every", "window"}
    assert {n: plain[n] for n in others} == {n: design.everything[n] for n in others}


def test_what_no_candidate_meets_keeps_the_budget_and_comes_as_near_as_levers_bring_it():
    design = design_of(8 * 10**9, 5 * 10**9, context=262_144)
    assert not design.fits
    assert 0.99 * 8e9 <= design.parameters <= 8e9
    # A window of 1,024 in place of 4,096 would save 1.3% more, and is not taken for it.
    pulled = {"weight_bits": 4, "cache_bits": 8, "global_every": 6, "window": 4096}
    assert {name: design.everything[name] for name in pulled} == pulled


@pytest.mark.parametrize("allowed", [30 * 10**9, 48 * 10**9, 73_600_000_000])
def test_an_infinite_context_is_the_largest_power_of_two_that_the_memory_holds(allowed):
    design = design_of(12 * 10**9, allowed, INFINITE)
    window = design.dims["max_seq_len"]
    assert window & (window - 1) == 0
    assert design.demand.memory <= allowed
    assert FAMILY.demand({**design.everything, "max_seq_len": 2 * window}).memory > allowed


def test_more_memory_never_gives_a_less_faithful_shape():
    costs = []
    for allowed in (9e9, 12e9, 16e9, 24e9, 64e9):
        request = request_of(8 * 10**9, int(allowed), 131_072)
        trend = decoder.fit(PUBLISHED, request.budget)
        design, axes = search.search(FAMILY, request, trend), decoder.axes(request, trend)
        priced = (a for a in axes if a.price)
        prices = (a.price(design.everything, design.everything.get(a.name)) for a in priced)
        costs.append(sum(prices) + decoder.deviation(design.dims, trend))
    assert costs == sorted(costs, reverse=True)


class _Named:
    """A family with every name changed, to show that the search knows none."""

    def __init__(self):
        self.dims = {f"x_{name}": kind for name, kind in decoder.dims.items()}
        self.formats = {f"x_{name}": kind for name, kind in decoder.formats.items()}
        self.rules = ()

    def axes(self, request, trend):
        return tuple(_renamed(axis) for axis in decoder.axes(request, trend))

    def __getattr__(self, name):
        return lambda dims, *rest: getattr(decoder, name)(_plain(dims), *rest)


def _plain(dims):
    return {name.removeprefix("x_"): value for name, value in dims.items()}


def _renamed(axis):
    return replace(
        axis,
        name=f"x_{axis.name}",
        choices=lambda dims: axis.choices(_plain(dims)),
        price=axis.price and (lambda dims, value: axis.price(_plain(dims), value)),
    )


def test_the_search_knows_no_name_of_a_family():
    request = request_of(8 * 10**9, 16 * 10**9, 2**17)
    trend = decoder.fit(PUBLISHED, request.budget)
    other = search.search(_Named(), request, trend)
    assert _plain(other.everything) == search.search(FAMILY, request, trend).everything


def test_pins_that_leave_no_candidate_are_named():
    with pytest.raises(SpecError, match="d_model: 100, head_dim: 100, n_kv_heads: 7"):
        design_of(10**9, d_model=100, head_dim=100, n_kv_heads=7)


def test_sizing_imports_neither_torch_nor_matplotlib():
    program = (
        "import sys, metagen.sizing, metagen.measure, metagen.families.decoder\n"
        "print([m for m in ('torch', 'matplotlib', 'fvcore', 'numpy') if m in sys.modules])"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
