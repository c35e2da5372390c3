"""The image classifiers: counts and operations that are exact, and transformers' own outputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.image_classifiers import CLOSE, FAMILIES, SHAPES, code_of, write_package
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForImageClassification

from metagen.families import parts

CASES = [(family, shape) for family, shapes in SHAPES.items() for shape in shapes]


def model_of(module: ModuleType, shape: dict[str, Any]) -> Any:
    return module.Model(module.Config(**shape))


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_closed_forms_equal_what_torch_counts(name: str, shape: str, tmp_path: Path) -> None:
    dims, family = SHAPES[name][shape], FAMILIES[name]
    with code_of(write_package(tmp_path / "code", name, dims)) as code, torch.device("meta"):
        model = model_of(code.model, dims).eval()
        images = torch.empty(family.example(dims, 1)[0]["shape"])
        with FlopCounterMode(display=False) as counter:
            model(images)
    assert family.count(dims) == model.num_params()
    assert family.demand(dims).first.flops == counter.get_total_flops()
    floats = [t for t in model.state_dict().values() if t.is_floating_point()]
    assert family.demand(dims).weights == 2 * sum(t.numel() for t in floats)
    if name == "resnet":
        buffers = [b for b in model.buffers() if b.is_floating_point()]
        assert parts.state(family.parts(dims)) == sum(b.numel() for b in buffers)


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def pair(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[tuple[Any, Any]]:
    """Our model and transformers' with the same tensors, drawn so that errors show."""
    name, shape = request.param
    dims = SHAPES[name][shape]
    with code_of(write_package(tmp_path_factory.mktemp("code"), name, dims)) as code:
        torch.manual_seed(0)
        ours = model_of(code.model, dims)
        with torch.no_grad():
            for key, tensor in ours.state_dict().items():
                if tensor.is_floating_point():
                    spread = 0.5 if key.endswith("running_var") else 1.5
                    scaled = tensor * spread if tensor.dim() > 1 else tensor
                    noise = 0.1 * torch.randn_like(tensor)
                    tensor.copy_(scaled + (noise.abs() if "running_var" in key else noise))
        known = dims | ours.checkpoint_config() | {"num_labels": dims["num_classes"]}
        config = AutoConfig.for_model(known.pop("model_type"), **known)
        config._attn_implementation = "eager"  # the plain formula, not a kernel that we use too
        theirs = AutoModelForImageClassification.from_config(config)
        theirs.load_state_dict({ours.checkpoint_name(n): t for n, t in ours.state_dict().items()})
        yield ours, theirs


def images_for(model: Any, count: int = 5) -> torch.Tensor:
    c = model.config
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, c.num_channels, c.image_height, c.image_width, generator=generator)


@pytest.mark.parametrize("training", [False, True])
def test_logits_and_gradients_equal_those_of_transformers(
    pair: tuple[Any, Any], training: bool
) -> None:
    ours, theirs = (model.train(training) for model in pair)
    assert [type(theirs).__name__] == ours.checkpoint_config()["architectures"]
    images, targets = images_for(ours), torch.tensor([0, 1, 2, 1, 0])
    found, expected = ours(images), theirs(images).logits
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, **CLOSE)
    for logits, model in ((found, ours), (expected, theirs)):
        model.zero_grad()
        F.cross_entropy(logits, targets).backward()
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[ours.checkpoint_name(name)], **CLOSE)
    statistics = dict(theirs.named_buffers())
    for name, buffer in ours.named_buffers():
        torch.testing.assert_close(buffer, statistics[ours.checkpoint_name(name)])
