"""The autoencoder: published counts, filled budgets, missing values, its route."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from helpers.autoencoder_settings import MODEL, SIZES
from helpers.family_code import modules_of, published, write_code

from metagen import families
from metagen.families.autoencoder import FAMILY as autoencoder
from metagen.families.demand import Need
from metagen.families.trend import rows
from metagen.sizing.search import search


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    folder = tmp_path_factory.mktemp("code")
    with modules_of(write_code(folder, autoencoder, SIZES)) as modules:
        yield modules


# contract:
@pytest.mark.parametrize("changed", [{}, {"n_layers": 1}, {"n_layers": 4}, {"window": 1}])
def test_the_closed_form_is_the_count_of_the_network(
    changed: dict[str, int], code: dict[str, ModuleType]
) -> None:
    config = code["model"].Config(**{**MODEL, **changed})
    assert autoencoder.count(vars(config)) == code["model"].Model(config).num_params()


def test_published_widths_give_published_counts() -> None:
    table = rows(published(autoencoder))
    assert len(table) == 4
    for row in table:
        first, *hidden, code = map(int, row["arch"].split("-"))
        dims = {"window": 1, "n_channels": first, "d_hidden": hidden[0], "n_layers": len(hidden)}
        assert autoencoder.count({**dims, "d_latent": code}) == int(row["params_exact"])


# contract:
@pytest.mark.parametrize("budget", [2e4, 1e6, 5e6, 300e6])
@pytest.mark.parametrize("pins", [{}, {"window": 1}, {"n_channels": 3}, {"d_latent": 5}])
def test_the_budget_is_filled_and_never_exceeded(budget: float, pins: dict[str, int]) -> None:
    need = Need(int(budget), int(0.99 * budget), pins=pins, fixed=pins)
    design = search(autoencoder, need, autoencoder.fit(published(autoencoder), need.budget))
    assert 0.97 * budget <= design.parameters <= budget
    assert design.dims.items() >= pins.items()
    assert not any(rule.broken(design.dims) for rule in autoencoder.rules)


def test_missing_values_count_for_nothing(code: dict[str, ModuleType]) -> None:
    model, errors = code["model"].Model(code["model"].Config()), code["model"].errors
    x = torch.randn(5, 4, 3)
    full = errors(x, model(x))
    assert torch.allclose(full, (model(x) - x).square().mean((1, 2)))
    x[:, :, 2] = math.nan
    expected = (model(x) - x)[:, :, :2].square().mean((1, 2))
    assert torch.allclose(errors(x, model(x)), expected)


def test_anomalies_of_series_lead_here() -> None:
    keys = {
        "modality.inputs": ("time_series",),
        "modality.outputs": ("label",),
        "task.type": "anomaly_detection",
    }
    assert families.route(keys.get) == "autoencoder"
    assert autoencoder.fixed({"task.lookback": 32}.get) == {"window": 32}
