"""The image embedder: transformers' outputs and gradients, published counts, its route."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.embedder_settings import MODEL, TINY
from helpers.family_code import modules_of, published, write_code
from transformers import AutoConfig, AutoModelForImageClassification

from metagen import families
from metagen.families.trend import rows
from metagen.families.vit_embedder import FAMILY as embedder

CLASSES = 1000  # outputs of the published classifiers


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ModuleType]]:
    with modules_of(write_code(tmp_path_factory.mktemp("code"), embedder, TINY)) as modules:
        yield modules


def test_a_projection_as_wide_as_a_published_classifier_gives_the_published_count() -> None:
    image = {"image_height": 224, "image_width": 224, "num_channels": 3, "embed_dim": CLASSES}
    for row in rows(published(embedder)):
        names = {"d_model": "d_model", "n_layers": "n_layers", "n_heads": "n_heads", "d_ff": "ffn"}
        shape = {ours: int(row[theirs]) for ours, theirs in names.items()}
        dims = {**image, **shape, "patch_size": int(row["patch"])}
        assert embedder.count(dims) == int(row["params_exact"]), row["model"]


@pytest.mark.parametrize("changed", [{}, {"image_height": 12, "num_channels": 3, "embed_dim": 2}])
def test_vectors_and_gradients_are_those_of_transformers(
    code: dict[str, ModuleType], changed: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config(**{**MODEL, **changed}))
    entries = {**MODEL, **changed, **model.checkpoint_config()}
    config = AutoConfig.for_model(entries.pop("model_type"), **entries)
    config._attn_implementation = "eager"
    theirs = AutoModelForImageClassification.from_config(config)
    theirs.load_state_dict({model.checkpoint_name(n): t for n, t in model.state_dict().items()})
    c = model.config
    images = torch.randn(5, c.num_channels, c.image_height, c.image_width)
    ours, expected = model(images), F.normalize(theirs(images).logits, dim=1)
    assert ours.norm(dim=1).allclose(torch.ones(5))
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)
    goal = torch.randn_like(ours)
    for each in (ours, expected):
        (each * goal).sum().backward()
    named = dict(theirs.named_parameters())
    for name, weight in model.named_parameters():
        other = named[model.checkpoint_name(name)].grad
        torch.testing.assert_close(weight.grad, other, atol=1e-4, rtol=1e-3)


def test_an_image_to_a_vector_leads_here() -> None:
    keys = {"modality.inputs": ("image",), "modality.outputs": ("embedding",)}
    assert families.route(keys.get) == "vit_embedder"
