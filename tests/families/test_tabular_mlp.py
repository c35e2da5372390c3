"""Residual MLPs over columns: additive beginnings, missing values, their routes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from helpers.family_code import modules_of, write_code
from helpers.tabular_settings import FAMILIES, sizes

from metagen import families
from metagen.errors import SpecError
from metagen.families.tabular_classifier import FAMILY as classifier
from metagen.families.tabular_regressor import FAMILY as regressor


@pytest.fixture(scope="module", params=FAMILIES)
def code(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp(request.param)
    with modules_of(write_code(folder, FAMILIES[request.param], sizes(request.param))) as modules:
        yield {"task": request.param, **modules}


def test_a_network_begins_as_an_additive_model(code: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config()).eval()
    torch.nn.init.normal_(model.head.weight)
    one, two = torch.randn(6), torch.randn(6)
    rows = torch.stack([one, two, one, two])
    rows[2, 3], rows[3, 3] = two[3], one[3]  # swap one value: sums over both rows stay
    with torch.no_grad():
        out = model(rows, torch.zeros(4, 3, dtype=torch.int64))
    assert torch.allclose(out[0] + out[1], out[2] + out[3], atol=1e-5)


def test_missing_values_and_absent_columns_count_for_nothing(code: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config()).eval()
    numbers = torch.randn(4, 6)
    numbers[:, 2] = math.nan
    embedded = model.numeric(numbers)
    assert embedded[:, 2].eq(0).all()
    assert embedded[:, 0].ne(0).any()
    x = numbers[1, 0]
    angles = 2 * math.pi * x * model.numeric.frequencies[0]
    waves = torch.cat((x.unsqueeze(0), angles.sin(), angles.cos()))
    expected = waves @ model.numeric.weight[0] + model.numeric.bias[0]
    assert torch.allclose(embedded[1, 0], expected, atol=1e-6)


def test_a_regressor_of_several_numbers_is_refused() -> None:
    with pytest.raises(SpecError, match="predicts one number for each row, not 3"):
        regressor.fixed({"task.num_outputs": 3}.get)
    assert classifier.fixed({"task.num_classes": 7}.get) == {"n_outputs": 7}


@pytest.mark.parametrize(
    ("output", "family"), [("regression", "regressor"), ("label", "classifier")]
)
def test_tables_lead_here(output: str, family: str) -> None:
    keys = {"modality.inputs": ("tabular",), "modality.outputs": (output,)}
    assert families.route(keys.get) == f"tabular_{family}"
