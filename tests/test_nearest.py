"""The nearest feasible changes: each that is named is enough, and the context is the longest."""

import json

import pytest
from helpers.plain_desk import PlainDesk, spec_of
from helpers.turns import in_turn

from metagen import families, paths
from metagen.sizing import alternatives, need
from metagen.sizing.alternatives import TARGET, nearest, sensitivity
from metagen.sizing.search import alternative, solution
from metagen.spec import load
from metagen.units import parse_context, parse_count

TIGHT = {
    "constraints.parameter_budget.max": "13B",
    "constraints.memory_budget": "8GB",
    "constraints.context_window": "128k",
    "constraints.throughput": "200 tok/s",
    "constraints.latency": "50ms",
    "constraints.device": "consumer_gpu",
}

# Families whose dimensions are of different kinds: widths, tables, two towers, levels.
SEVERAL = ("decoder", "vit", "clip", "latent_unet", "tabular_regressor", "gat")


def tight(tmp_path, **changed):
    """Return the design for TIGHT with some constraints changed, and its need."""
    path = tmp_path / "tight.yaml"
    path.write_text('metagen_version: "1.0"\nname: tight\n')
    texts = TIGHT | {f"constraints.{name}": value for name, value in changed.items()}
    desk = PlainDesk.of(path)
    desk.spec = load(path, [f"{key}={value}" for key, value in texts.items()])
    return desk, solution(desk)


@pytest.mark.parametrize(
    "constraint",
    [
        pytest.param(need.MEMORY, marks=[pytest.mark.slow, pytest.mark.ci]),
        need.THROUGHPUT,
        need.LATENCY,
    ],
)
def test_each_change_that_is_named_for_a_violated_limit_is_enough(tmp_path, constraint):
    desk, best = tight(tmp_path)
    named = nearest(desk, best, best.design.parameters)[constraint].split(", or ")
    assert len(named) >= 2
    for change in named:
        key, value = change.split(" ", 1)
        _, changed = tight(tmp_path, **{key: value})
        bounds = [b for b in changed.need.limits if b.constraint == constraint]
        assert bounds, change
        assert not any(bound.excess(changed.design.demand) for bound in bounds), change


@pytest.mark.parametrize("budget", in_turn([10, 1000, 17_000, 60_000], 1000))
@pytest.mark.parametrize("name", in_turn(families.FAMILIES, *SEVERAL))
def test_a_larger_parameter_budget_that_is_named_is_met(tmp_path, name, budget):
    desk, best = with_budget(name, budget, tmp_path)
    named = nearest(desk, best, best.design.parameters)
    if best.design.parameters <= budget:
        assert named == {}
        return
    key, value = named["parameter_budget.max"].split()
    assert key == "parameter_budget.max"
    changed = with_budget(name, value, tmp_path)[1]
    assert changed.design.parameters <= parse_count(value)


def test_bounds_below_the_design_that_missed_one_cost_no_search(tmp_path, monkeypatch):
    tried = []
    pins = ["architecture.dims.n_numeric=4096", "architecture.dims.d_embedding=1048576"]
    path = paths.specs() / "tabular" / "tabular_regressor.yaml"
    desk = PlainDesk.of_spec(load(path, [*pins, "constraints.parameter_budget.max=1M"]))
    best = solution(desk)

    def searched(desk, family, changed):
        tried.append(changed)
        return alternative(desk, family, changed)

    monkeypatch.setattr(alternatives, "alternative", searched)
    assert "parameter_budget.max" not in nearest(desk, best, best.design.parameters)
    assert sum(changed.get(alternatives.BUDGET, 0) > 1_000_000 for changed in tried) == 1


def test_a_least_count_that_is_named_is_reached(tmp_path):
    dims = "d_model: 512, d_ff: 512, n_layers: 8, vocab_size: 32000"
    text = f"architecture: {{dims: {{{dims}}}}}\nconstraints: {{parameter_budget: {{min: %s}}}}"
    desk = PlainDesk(text % "1B", tmp_path)
    best = solution(desk)
    named = nearest(desk, best, best.design.parameters)["parameter_budget.min"]
    least = named.removeprefix("parameter_budget.min ")
    assert parse_count(least) > 0.9 * best.design.parameters
    changed = solution(PlainDesk(text % least, tmp_path))
    assert changed.design.parameters >= parse_count(least)


@pytest.mark.parametrize("name", in_turn(families.FAMILIES, *SEVERAL))
def test_a_smaller_budget_that_is_named_for_a_memory_is_met_as_well(tmp_path, name):
    fewest = with_budget(name, 10, tmp_path)[1].design
    memory = f", memory_budget: {fewest.demand.memory}"
    desk, best = with_budget(name, 10 * fewest.parameters, tmp_path, memory)
    assert not best.design.fits
    named = nearest(desk, best, best.design.parameters)[need.MEMORY].split(", or ")
    smaller = [each.split()[1] for each in named if each.startswith("parameter_budget.max")]
    for value in smaller:
        changed = with_budget(name, value, tmp_path, memory)[1]
        assert changed.design.fits
        assert changed.design.parameters <= parse_count(value)


@pytest.mark.parametrize("dims", ["max_seq_len: 8192", "window: 6144, global_every: 4"])
def test_a_window_that_pins_do_not_allow_is_not_named(tmp_path, dims):
    desk = PlainDesk(
        "constraints: {parameter_budget: {max: 1B}, memory_budget: 300MB, context_window: 8192}\n"
        f"architecture: {{dims: {{{dims}}}}}\n",
        tmp_path,
    )
    best = solution(desk)
    named = nearest(desk, best, best.design.parameters)[need.MEMORY]
    assert "context_window" not in named
    steps = json.loads(sensitivity(desk)[TARGET])["steps"]
    assert 4096 not in [each["value"] for each in steps]


def with_budget(name, budget, folder, more=""):
    """Return the design of a family for a budget of parameters, and its desk."""
    route = next(each for each in families.ROUTES if each.family == name)
    text = f"constraints: {{parameter_budget: {{max: {budget}}}{more}}}\n"
    desk = PlainDesk(spec_of(route) + text, folder)
    return desk, solution(desk)


def test_the_nearest_context_is_the_longest_of_its_steps(tmp_path):
    desk, best = tight(tmp_path, throughput="null", latency="null")
    changes = nearest(desk, best, best.design.parameters)[need.MEMORY]
    named = dict(change.split(" ", 1) for change in changes.split(", or "))
    window = parse_context(named["context_window"])
    longer = window * 3 // 2 if window & (window - 1) == 0 else window * 4 // 3
    other = tight(tmp_path, throughput="null", latency="null", context_window=longer)[1]
    assert not other.design.fits
