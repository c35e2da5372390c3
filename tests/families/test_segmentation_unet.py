"""The segmenting U-Net: published counts and activations, the paper's shape, and its formula."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from helpers.family_code import Held, modules_of, write_code
from helpers.segmentation_settings import MODEL, SPEC, TINY, Modules
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from metagen import families, paths
from metagen.families.demand import Need
from metagen.families.segmentation_unet import FAMILY as unet
from metagen.families.trend import rows
from metagen.sizing import search
from metagen.spec import load

PUBLISHED = paths.source("families/segmentation_unet.csv").read_bytes()
PAPER = {
    "in_channels": 1,
    "num_classes": 2,
    "base_channels": 64,
    "max_channels": 1024,
    "n_levels": 5,
    "image_height": 512,
    "image_width": 512,
}


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Modules]:
    with modules_of(write_code(tmp_path_factory.mktemp("code"), unet, TINY)) as modules:
        yield modules


def dims(row: dict[str, str]) -> dict[str, int]:
    names = {"base_channels": "d_model", "max_channels": "ffn", "n_levels": "n_layers"}
    return {**PAPER, **{ours: int(row[theirs]) for ours, theirs in names.items()}}


def test_the_closed_form_gives_the_counts_of_the_table() -> None:
    table = {row["model"]: row for row in rows(PUBLISHED)}
    assert unet.count(dims(table["U-Net"])) == int(table["U-Net"]["params_exact"])
    hub = {**dims(table["U-Net brain-segmentation"]), "in_channels": 3, "num_classes": 1}
    assert f"{unet.count(hub) / 1e6:.2f}M" == table["U-Net brain-segmentation"]["params_published"]


def test_the_published_size_holds_what_memory_was_planned_for(code: Modules) -> None:
    sizes = PAPER | {"num_classes": 21, "in_channels": 3}
    with FakeTensorMode():
        model = code["model"].Model(code["model"].Config(**sizes)).eval()
        images = torch.empty(unet.example(sizes, 1)[0]["shape"])
        with Held(model.parameters()) as held, torch.inference_mode():
            model(images)
    assert held.most == 2 * unet.demand(sizes).activations  # float32 here, bf16 in infer.py


def test_the_papers_size_gives_the_papers_network() -> None:
    need = Need(31_100_000, 30_800_000, pins={"in_channels": 1, "num_classes": 2})
    design = search.search(unet, need, unet.fit(PUBLISHED, need.budget))
    assert design.dims == PAPER


def test_an_image_that_halves_less_often_gets_fewer_levels() -> None:
    pins = {"image_height": 500, "image_width": 348}  # 4 x 125 and 4 x 87
    need = Need(5_000_000, 4_900_000, pins=pins)
    design = search.search(unet, need, unet.fit(PUBLISHED, need.budget))
    assert design.dims["n_levels"] == 3


def test_images_to_masks_are_routed_here() -> None:
    key = load(SPEC).key
    assert families.route(key) == "segmentation_unet"
    assert unet.fixed(key) == {"image_height": 256, "image_width": 224, "num_classes": 3}


def convolved(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return a padded 3 x 3 convolution and a rectifier, as a sum over the nine shifts."""
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    height, width = x.shape[2:]
    out = bias[None, :, None, None]
    for i in range(3):
        for j in range(3):
            window = padded[:, :, i : i + height, j : j + width]
            out = out + torch.einsum("bchw,oc->bohw", window, weight[:, :, i, j])
    return out.clamp(min=0)


def doubled(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return a 2 x 2 up-convolution: each pixel becomes four, by a matrix each."""
    blocks = torch.einsum("bchw,coij->bohiwj", x, weight)
    height, width = x.shape[2:]
    return blocks.reshape(len(x), -1, 2 * height, 2 * width) + bias[None, :, None, None]


def pooled(x: Tensor) -> Tensor:
    return x.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).amax((3, 5))


def formula(images: Tensor, state: dict[str, Tensor], levels: int) -> Tensor:
    """Return the logits of figure 1 of arXiv:1505.04597, with padded convolutions."""

    def block(x: Tensor, name: str) -> Tensor:
        for part in ("conv1", "conv2"):
            x = convolved(x, state[f"{name}.{part}.weight"], state[f"{name}.{part}.bias"])
        return x

    seen = [block(images, "stem")]
    seen += [seen[-1]]
    for level in range(levels - 1):
        seen[-1] = block(pooled(seen[-1]), f"downs.{level}.conv")
        seen += [seen[-1]]
    x, beside = seen[-1], seen[: levels - 1]
    for level in range(levels - 1):
        up = doubled(x, state[f"ups.{level}.up.weight"], state[f"ups.{level}.up.bias"])
        x = block(torch.cat((beside[-1 - level], up), 1), f"ups.{level}.conv")
    head = torch.einsum("bchw,oc->bohw", x, state["head.weight"][:, :, 0, 0])
    return head + state["head.bias"][None, :, None, None]


def test_logits_and_gradients_are_those_of_the_formula(code: Modules) -> None:
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config(**MODEL))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    images, masks = torch.randn(2, 1, 16, 24), torch.randint(-1, 3, (2, 16, 24))
    copies = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters()}
    wanted = formula(images, copies, MODEL["n_levels"])
    torch.testing.assert_close(model(images), wanted, atol=1e-5, rtol=1e-5)
    loss, counted = code["train"].pixel_loss(model, (images, masks))
    logs = wanted.log_softmax(1).gather(1, masks.clamp(min=0)[:, None])[:, 0]
    theirs = -logs[masks >= 0].mean()
    torch.testing.assert_close(loss, theirs)
    assert counted == int((masks >= 0).sum())
    loss.backward()
    theirs.backward()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, copies[name].grad, atol=1e-6, rtol=1e-3, msg=name)


def test_an_image_of_void_alone_has_no_loss(code: Modules) -> None:
    model = code["model"].Model(code["model"].Config(**MODEL))
    assert model(torch.zeros(1, 1, 16, 24), torch.full((1, 16, 24), -1)) == 0


def test_the_size_of_a_mask_is_that_of_its_image() -> None:
    task = unet.task
    sides = {"image_height": 96, "image_width": 64}
    for name in ("task.mask_resolution", "constraints.image_size"):
        assert task.fixed({name: (96, 64)}.get) == sides
    both = {"task.mask_resolution": (96, 64), "constraints.image_size": (96, 64)}
    assert not [*task.refused(both.get)]
    (problem,) = task.refused({**both, "task.mask_resolution": (28, 28)}.get)
    assert problem.place == "task.mask_resolution"
    assert "mask_resolution" in task.dim_reasons(sides)["image_height"]
