"""The patch classifier: equality with transformers' PatchTST, published counts, its route."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.family_code import modules_of, write_code
from helpers.series_settings import MODEL, TINY
from safetensors.torch import save_file
from transformers import PatchTSTConfig, PatchTSTForClassification

from metagen import families
from metagen.errors import SpecError
from metagen.families.patch_classifier import FAMILY as classifier


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    folder = tmp_path_factory.mktemp("code")
    with modules_of(write_code(folder, classifier, TINY)) as modules:
        yield modules


CHANGED: tuple[dict[str, Any], ...] = (
    {},
    {"lookback": 29, "patch_len": 7, "stride": 5},
    {"n_channels": 1, "n_heads": 1, "num_classes": 2},
)


@pytest.mark.parametrize("changed", CHANGED)
def test_logits_names_and_gradients_are_those_of_transformers(
    code: dict[str, ModuleType], changed: dict[str, Any], tmp_path: Path
) -> None:
    dims = {**MODEL, **changed}
    model = code["model"].Model(code["model"].Config(**dims)).eval()
    entries = {**dims, **model.checkpoint_config()}
    (tmp_path / "config.json").write_text(json.dumps(entries))
    state = {model.checkpoint_name(n): t for n, t in model.state_dict().items()}
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    theirs, info = PatchTSTForClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    series = 3 * torch.randn(5, dims["n_channels"], dims["lookback"]) + 50
    targets = torch.tensor([0, 1, 1, 0, 1])
    ours, expected = model(series), theirs.eval()(series.transpose(1, 2)).prediction_logits
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    for each in (ours, expected):
        F.cross_entropy(each, targets).backward()
    named = dict(theirs.named_parameters())
    for name, weight in model.named_parameters():
        other = named[model.checkpoint_name(name)].grad
        torch.testing.assert_close(weight.grad, other, rtol=1e-3, atol=1e-5)
    assert classifier.count(dims) == sum(p.numel() for p in theirs.parameters())


def test_the_dimensions_of_patchtst_for_weather_give_the_count_of_transformers() -> None:
    dims = {"lookback": 336, "n_channels": 21, "num_classes": 5, "patch_len": 16, "stride": 8,
            "d_model": 128, "n_layers": 3, "n_heads": 16, "d_ff": 256}  # fmt: skip
    config = PatchTSTConfig(
        context_length=336, num_input_channels=21, num_targets=5, patch_length=16, patch_stride=8,
        d_model=128, num_hidden_layers=3, num_attention_heads=16, ffn_dim=256,
        norm_type="layernorm", positional_encoding_type="random",
    )  # fmt: skip
    with torch.device("meta"):
        theirs = PatchTSTForClassification(config)
    assert classifier.count(dims) == sum(p.numel() for p in theirs.parameters())


def test_neither_the_level_nor_the_unit_of_a_channel_changes_the_class(
    code: dict[str, ModuleType],
) -> None:
    model = code["model"].Model(code["model"].Config()).eval()
    series = torch.randn(3, 2, 24)
    moved = series * torch.tensor([1000.0, 2.0])[:, None] + torch.tensor([7.0, -40.0])[:, None]
    with torch.no_grad():
        torch.testing.assert_close(model(moved), model(series), rtol=1e-3, atol=1e-3)


def test_the_task_type_tells_a_classifier_from_a_detector_of_anomalies() -> None:
    keys: dict[str, Any] = {
        "modality.inputs": ("time_series",),
        "modality.outputs": ("label",),
        "task.type": "classification",
    }
    assert families.route(keys.get) == "patch_classifier"
    del keys["task.type"]
    with pytest.raises(SpecError, match=r"add task.type: .*classification for patch_classifier"):
        families.route(keys.get)
