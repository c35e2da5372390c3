"""The nearest feasible changes: each that is named is enough, and the context is the longest."""

import pytest
from blueprint_desk import PlainDesk

from metagen.blueprint import found, limits, nearest, need
from metagen.families import decoder
from metagen.spec import load
from metagen.units import parse_context

TIGHT = {
    "constraints.parameter_budget.max": "13B",
    "constraints.memory_budget": "8GB",
    "constraints.context_window": "128k",
    "constraints.throughput": "200 tok/s",
    "constraints.latency": "real-time",
    "constraints.device": "consumer_gpu",
}


def sized(tmp_path, **changed):
    """Return the design for TIGHT with some constraints changed, and its limits."""
    path = tmp_path / "tight.yaml"
    path.write_text('metagen_version: "1.0"\nname: tight\n')
    texts = TIGHT | {f"constraints.{name}": value for name, value in changed.items()}
    desk = PlainDesk.of(path)
    desk.spec = load(path, [f"{key}={value}" for key, value in texts.items()])
    published = desk.source(found.PUBLISHED)
    return desk, found.searched(decoder, need.goal(desk, decoder), published), published


@pytest.mark.parametrize("constraint", [limits.MEMORY, limits.THROUGHPUT, limits.LATENCY])
def test_each_change_that_is_named_for_a_violated_limit_is_enough(tmp_path, constraint):
    desk, best, published = sized(tmp_path)
    named = nearest.nearest(desk, best, published)[constraint].split(", or ")
    assert len(named) >= 2
    for change in named:
        key, value = change.split(" ", 1)
        _, changed, _ = sized(tmp_path, **{key: value})
        bounds = [b for b in changed.need.limits if b.constraint == constraint]
        assert bounds, change
        assert not any(bound.excess(changed.design.load) for bound in bounds), change


def test_the_nearest_context_is_the_longest_of_its_steps(tmp_path):
    desk, best, published = sized(tmp_path, throughput="null", latency="null")
    named = dict(
        change.split(" ", 1)
        for change in nearest.nearest(desk, best, published)[limits.MEMORY].split(", or ")
    )
    window = parse_context(named["context_window"])
    longer = window * 3 // 2 if window & (window - 1) == 0 else window * 4 // 3
    other = sized(tmp_path, throughput="null", latency="null", context_window=longer)[1]
    assert not other.design.fits
