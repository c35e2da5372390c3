"""The patch forecaster: equality with transformers' PatchTST, patches, its route."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from helpers.family_code import modules_of, write_code
from helpers.forecaster_settings import SHAPES, sizes
from safetensors.torch import save_file
from transformers import PatchTSTForPrediction

from metagen import families
from metagen.families.patch_forecaster import FAMILY as forecaster
from metagen.families.patch_transformer import stride


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    folder = tmp_path_factory.mktemp("code")
    with modules_of(write_code(folder, forecaster, sizes())) as modules:
        yield modules


@pytest.mark.parametrize("shape", SHAPES)
def test_outputs_and_names_are_those_of_transformers(shape: str, tmp_path: Path) -> None:
    with modules_of(write_code(tmp_path, forecaster, sizes(shape))) as code:
        model = code["model"].Model(code["model"].Config()).eval()
        config = SHAPES[shape] | model.checkpoint_config()
        folder = tmp_path / "checkpoint"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        state = {model.checkpoint_name(n): t for n, t in model.state_dict().items()}
        save_file(state, folder / "model.safetensors", {"format": "pt"})
        theirs = PatchTSTForPrediction.from_pretrained(folder).eval()
        past = torch.randn(5, SHAPES[shape]["lookback"]) * 3 + 50
        with torch.no_grad():
            expected = theirs(past_values=past.unsqueeze(2)).prediction_outputs[:, :, 0]
            assert torch.allclose(model(past), expected, atol=1e-4)
        assert forecaster.count(SHAPES[shape]) == sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize(
    ("lookback", "steps"), [(90, 9), (96, 8), (336, 8), (97, 8), (12, 4), (3, 1)]
)
def test_patches_leave_as_few_steps_out_as_they_can(lookback: int, steps: int) -> None:
    assert stride(lookback) == steps
    assert 2 * steps < lookback or lookback == 3


def test_a_forecast_knows_neither_level_nor_unit(code: dict[str, ModuleType]) -> None:
    model = code["model"].Model(code["model"].Config()).eval()
    past = torch.randn(3, 24)
    with torch.no_grad():
        assert torch.allclose(model(1000 * past + 7), 1000 * model(past) + 7, rtol=1e-3, atol=0.2)


def test_only_a_forecast_of_series_by_series_leads_here() -> None:
    keys = {
        "modality.inputs": ("time_series",),
        "modality.outputs": ("time_series",),
        "task.type": "time_series_forecast",
    }
    assert families.route(keys.get) == "patch_forecaster"
