"""Regressors of texts and images: transformers' outputs and gradients, published counts, routes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.family_code import modules_of, published, write_code
from helpers.regressor_settings import FAMILIES, tiny
from transformers import AutoConfig, AutoModelForImageClassification

from metagen import families
from metagen.errors import SpecError
from metagen.families.family import Family
from metagen.families.parts import count, linear
from metagen.families.trend import rows

CLASSES = 1000  # outputs of the published classifiers


@pytest.fixture(scope="module", params=FAMILIES)
def code(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, ModuleType]]:
    name = request.param
    folder: Path = tmp_path_factory.mktemp(name)
    with modules_of(write_code(folder, families.named(name), tiny(name))) as modules:
        yield modules


def test_numbers_and_gradients_are_those_of_transformers(code: dict[str, ModuleType]) -> None:
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config())
    torch.nn.init.normal_(model.classifier.weight)
    c, entries = model.config, model.checkpoint_config()
    known = {**vars(c), **{name: value for name, value in entries.items() if name != "model_type"}}
    config = AutoConfig.for_model(entries["model_type"], **known)
    config._attn_implementation = "eager"
    theirs = AutoModelForImageClassification.from_config(config)
    theirs.load_state_dict({model.checkpoint_name(n): t for n, t in model.state_dict().items()})
    images = torch.randn(5, c.num_channels, c.image_height, c.image_width)
    targets = torch.randn(5)
    ours, expected = model(images), theirs(images, labels=targets)
    torch.testing.assert_close(ours, expected.logits[:, 0], atol=1e-5, rtol=1e-4)
    # transformers takes the squared error too, since the configuration says it is a regression.
    loss, samples = code["train"].squared_error(model, (images, targets))
    torch.testing.assert_close(loss, expected.loss, atol=1e-5, rtol=1e-4)
    assert samples == 5
    # The first of two passes moved the running statistics, which training mode does not read.
    F.mse_loss(ours, targets).backward()
    expected.loss.backward()
    named = dict(theirs.named_parameters())
    for name, weight in model.named_parameters():
        other = named[model.checkpoint_name(name)].grad
        torch.testing.assert_close(weight.grad, other, atol=1e-4, rtol=1e-3)


def dims_of(family: Family, row: dict[str, str]) -> dict[str, Any]:
    image = {"image_height": 224, "image_width": 224, "num_channels": 3}
    if family.table == "vit":
        names = {"d_model": "d_model", "n_layers": "n_layers", "n_heads": "n_heads", "d_ff": "ffn"}
        shape = {ours: int(row[theirs]) for ours, theirs in names.items()}
        return {**image, **shape, "patch_size": int(row["patch"])}
    stages = [int(depth) for depth in row["n_layers"].split("-")]
    depths = {f"depth_{n}": depth for n, depth in enumerate(stages, start=1)}
    return {**image, "width": int(row["d_model"]) // 32, **depths}


@pytest.mark.parametrize("name", FAMILIES)
def test_one_output_in_place_of_the_classes_gives_the_published_count(name: str) -> None:
    family = families.named(name)
    compared = 0
    for row in rows(published(family)):
        if row.get("arch", "") != "resnet18":
            dims = dims_of(family, row)
            width = int(row["d_model"])
            head = count([linear(width, CLASSES)]) - count([linear(width, 1)])
            assert family.count(dims) + head == int(row["params_exact"]), row["model"]
            compared += 1
    assert compared >= 4


KEYS = {"modality.outputs": ("regression",), "task.type": "regression"}


@pytest.mark.parametrize(
    ("family", "keys"),
    [
        ("text_regressor", {"modality.inputs": ("text",)}),
        ("vit_regressor", {"modality.inputs": ("image",), "architecture.family": "transformer"}),
        ("resnet_regressor", {"modality.inputs": ("image",), "architecture.family": "cnn"}),
        ("tabular_regressor", {"modality.inputs": ("tabular",)}),
    ],
)
def test_a_number_from_each_modality_leads_to_its_family(family: str, keys: dict[str, Any]) -> None:
    assert families.route({**KEYS, **keys}.get) == family


@pytest.mark.parametrize("name", ["text_regressor", *FAMILIES])
def test_two_numbers_of_a_sample_are_refused(name: str) -> None:
    task = families.named(name).task
    with pytest.raises(SpecError, match=f"predicts one number for each {task.input}, not 2"):
        task.fixed({"task.num_outputs": 2}.get)
    assert "num_outputs" not in task.fixed({"task.num_outputs": 1}.get)
