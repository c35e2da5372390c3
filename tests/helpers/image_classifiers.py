"""Packages of the image classifiers at tiny sizes, their modules, and images to train on."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import AutoConfig, AutoModelForImageClassification

from helpers.family_code import modules_of, published, write_code
from metagen.families.demand import Need
from metagen.families.family import Family
from metagen.families.resnet import FAMILY as resnet
from metagen.families.vit import FAMILY as vit
from metagen.sizing.search import Design, search

FAMILIES: dict[str, Family] = {"vit": vit, "resnet": resnet}
SHAPES: dict[str, dict[str, dict[str, Any]]] = {
    "vit": {
        "square": {
            "image_height": 8, "image_width": 8, "patch_size": 2, "num_channels": 1,
            "num_classes": 10, "d_model": 32, "n_layers": 2, "n_heads": 4, "d_ff": 48,
            "norm_eps": 1e-6,
        },
        "wide, in colours": {
            "image_height": 12, "image_width": 18, "patch_size": 6, "num_channels": 3,
            "num_classes": 3, "d_model": 24, "n_layers": 3, "n_heads": 1, "d_ff": 40,
            "norm_eps": 1e-3,
        },
    },
    "resnet": {
        "square": {
            "image_height": 32, "image_width": 32, "num_channels": 1, "num_classes": 10,
            "width": 4, "depth_1": 1, "depth_2": 1, "depth_3": 1, "depth_4": 1,
        },
        "odd, in colours": {
            "image_height": 45, "image_width": 70, "num_channels": 3, "num_classes": 3,
            "width": 6, "depth_1": 2, "depth_2": 1, "depth_3": 3, "depth_4": 2,
        },
    },
}  # fmt: skip
DATA = {"val_fraction": 0.1, "test_fraction": 0.2, "pixel_mean": 0.5, "pixel_std": 0.25}
PLAIN = {"crop_scale": 0.0, "operations": 0, "magnitude": 9.0, "erase": 0.0}
SETTINGS: dict[str, dict[str, Any]] = {
    "data": DATA | PLAIN | {"crop_padding": 1, "flip": False},
    "train": {
        "steps": 6, "batch_size": 12, "grad_accum": 1, "optimizer": "adamw",
        "learning_rate": 3e-3, "warmup_steps": 2,
        "final_lr_share": 0.1, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.99, "grad_clip": 1.0,
        "eval_every": 3, "eval_batches": 2, "save_every": 100, "dtype": "float32", "seed": 42,
        "label_smoothing": 0.1, "mixup": 0.0, "cutmix": 0.0, "drop_path": 0.0,
    },
    "eval": {"batch_size": 256, "baseline_side": 8, "baseline_images": 20000},
    "infer": {"top": 2, "samples": 3, "dtype": "bfloat16"},
}  # fmt: skip
CLOSE = {"atol": 1e-4, "rtol": 0.0}


def write_package(folder: Path, family: str, shape: dict[str, Any], **changed: Any) -> Path:
    """Write code/ of a family at tiny sizes; `changed` are fields of the data."""
    sizes = {"model": shape, **SETTINGS, "data": SETTINGS["data"] | changed}
    folder.mkdir(parents=True, exist_ok=True)
    return write_code(folder, FAMILIES[family], sizes)


@contextlib.contextmanager
def code_of(folder: Path) -> Iterator[SimpleNamespace]:
    """Import the scripts of a folder; `run` calls one with options."""
    with modules_of(folder) as found:

        def run(name: str, *options: object) -> None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "argv", [f"{name}.py", *map(str, options)])
                found[name].main()

        shared = {n: importlib.import_module(f"runtime.{n}") for n in ("images", "image_batches")}
        yield SimpleNamespace(**found, **shared, run=run)


def write_images(folder: Path, count: int = 30, side: int = 12) -> Path:
    """Write two classes of images, one bright on the left and one on the right."""
    for label, start in (("left", 0), ("right", side // 2)):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            pixels = torch.randint(
                40, (side, side), generator=torch.Generator().manual_seed(number)
            )
            pixels[:, start : start + side // 2] += 200
            image = Image.fromarray(pixels.to(torch.uint8).numpy())
            image.save(folder / label / f"{number:03}.png")
    return folder


def sized(family: Family, budget: float, **fixed: Any) -> Design:
    """Return the design for a budget, with some dimensions fixed."""
    need = Need(int(budget), int(0.99 * budget), pins=fixed, fixed=fixed)
    return search(family, need, family.fit(published(family), need.budget))


@contextlib.contextmanager
def beside_transformers(root: Path, family: str, shape: str) -> Iterator[tuple[Any, Any]]:
    """Yield our model and transformers' with the same tensors, drawn so that errors show."""
    dims = SHAPES[family][shape]
    with code_of(write_package(root / "code", family, dims)) as code:
        torch.manual_seed(0)
        ours = code.model.Model(code.model.Config(**dims))
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


def assert_same_logits_and_gradients(ours: Any, theirs: Any) -> None:
    """Check the logits, gradients and running statistics of two models with the same tensors."""
    assert [type(theirs).__name__] == ours.checkpoint_config()["architectures"]
    images, targets = images_for(ours), torch.tensor([0, 1, 2, 1, 0])
    logits, expected = ours(images), theirs(images).logits
    assert expected.std() > 0.1
    torch.testing.assert_close(logits, expected, **CLOSE)
    for each, model in ((logits, ours), (expected, theirs)):
        model.zero_grad()
        F.cross_entropy(each, targets).backward()
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[ours.checkpoint_name(name)], **CLOSE)
    statistics = dict(theirs.named_buffers())
    for name, buffer in ours.named_buffers():
        torch.testing.assert_close(buffer, statistics[ours.checkpoint_name(name)])


def images_for(model: Any, count: int = 5) -> torch.Tensor:
    c = model.config
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, c.num_channels, c.image_height, c.image_width, generator=generator)
