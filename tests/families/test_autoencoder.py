"""The autoencoder: published counts, missing values, its route."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from helpers.autoencoder_settings import SIZES
from helpers.family_code import modules_of, published, write_code

from metagen import families
from metagen.families.autoencoder import FAMILY as autoencoder
from metagen.families.trend import rows


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    folder = tmp_path_factory.mktemp("code")
    with modules_of(write_code(folder, autoencoder, SIZES)) as modules:
        yield modules


def test_published_widths_give_published_counts() -> None:
    table = rows(published(autoencoder))
    assert len(table) == 4
    for row in table:
        first, *hidden, code = map(int, row["arch"].split("-"))
        dims = {"window": 1, "n_channels": first, "d_hidden": hidden[0], "n_layers": len(hidden)}
        assert autoencoder.count({**dims, "d_latent": code}) == int(row["params_exact"])


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
