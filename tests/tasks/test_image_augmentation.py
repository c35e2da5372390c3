"""Augmentation of images: what a spec may name, and that each position decides its own."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers.generated import same_checkpoint
from helpers.image_classifiers import DATA, FAMILIES, SHAPES, code_of, write_package

from metagen.errors import SpecError
from metagen.families.vit import FAMILY as vit

pytestmark = pytest.mark.usefixtures("one_thread")

HEAVY = {"crop_scale": 0.3, "operations": 2, "magnitude": 9.0, "erase": 0.5}


# Settings


def sections(declared: Any, reduced: bool) -> dict[str, dict[str, Any]]:
    values = {"training.config.data_augmentation": declared, "reproducibility.seed": 1}
    return vit.sections(SHAPES["vit"]["square"], values.get, reduced=reduced)


@pytest.mark.parametrize("declared", [None, True, False, ("random_crop",), ("mixup", "flip")])
def test_images_are_mirrored_only_where_the_spec_asks_for_it(declared: Any) -> None:
    made = {reduced: sections(declared, reduced)["data"] for reduced in (False, True)}
    asked = declared is True or (isinstance(declared, tuple) and "flip" in declared)
    assert made[False]["flip"] is asked
    assert made[True]["flip"] is False  # the proxy reads digits


def test_asking_for_more_augmentation_switches_none_off() -> None:
    assert sections(False, False)["data"]["crop_padding"] == 0
    for name in ("mixup", "cutmix", "randaugment", "random_erasing", "horizontal-flip"):
        assert sections((name,), False)["data"]["crop_padding"] > 0, name
    assert sections(("random_resized_crop",), False)["data"]["crop_padding"] == 0


@pytest.mark.parametrize(
    ("name", "place", "field"),
    [
        ("random_resized_crop", "data", "crop_scale"),
        ("rand_augment", "data", "operations"),
        ("random_erasing", "data", "erase"),
        ("mixup", "train", "mixup"),
        ("cutmix", "train", "cutmix"),
        ("stochastic_depth", "train", "drop_path"),
    ],
)
def test_each_augmentation_sets_a_field_of_the_full_model(
    name: str, place: str, field: str
) -> None:
    assert sections(None, False)[place][field] == 0
    assert sections((name,), False)[place][field] > 0
    assert sections((name,), True)[place][field] == 0


@pytest.mark.parametrize("names", [("trivial_augment",), ("mixup", "solarise"), ("rotation",)])
def test_an_augmentation_that_the_code_has_not_is_refused_with_those_that_it_has(
    names: tuple[str, ...],
) -> None:
    with pytest.raises(SpecError) as caught:
        vit.check({"training.config.data_augmentation": names}.get)
    (problem,) = caught.value.problems
    assert names[-1] in problem.sentence
    assert "rand_augment, mixup, cutmix" in problem.hint


def test_two_crops_are_refused() -> None:
    names = ("random_crop", "random_resized_crop")
    with pytest.raises(SpecError, match="takes the place of random_crop"):
        vit.check({"training.config.data_augmentation": names}.get)


# Samples


def test_how_a_sample_is_varied_follows_from_its_position_alone(
    scripts: SimpleNamespace, image_folder: Path
) -> None:
    config = scripts.data.Config(**DATA, **HEAVY, crop_padding=3, flip=True)
    split = scripts.data.load_images(config, image_folder, scripts.model.Config()).splits["train"]
    batch_at = scripts.image_batches.batch_at
    whole, targets = batch_at(split, 10, 12, 0, config, 7)
    parts = [batch_at(split, start, 4, start + 4, config, 7) for start in (10, 14, 18)]
    assert torch.equal(whole, torch.cat([part[0] for part in parts]))
    assert torch.equal(targets, torch.cat([part[1] for part in parts]))
    again, _ = batch_at(split, 10 + len(split.targets), 12, 0, config, 7)
    assert not torch.equal(whole, again)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_operation_of_rand_augment_keeps_the_shape_and_most_change_the_image(
    scripts: SimpleNamespace, channels: int
) -> None:
    augmentation = importlib.import_module("runtime.augmentation")
    image = (torch.arange(16 * 20 * channels) % 251).to(torch.uint8).view(channels, 16, 20)
    count, changed = len(augmentation.OPERATIONS), 0
    assert count == 14
    for place in range(count):
        numbers = ((place + 0.5) / count, 0.9)
        varied = augmentation.rand_augment(image, 9.0, numbers)
        assert varied.shape == image.shape
        assert varied.dtype == torch.uint8
        assert torch.equal(varied, augmentation.rand_augment(image, 9.0, numbers))
        changed += not torch.equal(varied, image)
    assert changed >= (11 if channels == 1 else 12)  # colour does nothing to grey


def test_a_resized_crop_keeps_the_size_and_erasing_the_rest_of_the_image(
    scripts: SimpleNamespace,
) -> None:
    augmentation = importlib.import_module("runtime.augmentation")
    image = torch.full((3, 30, 20), 7, dtype=torch.uint8)
    image[:, :15] = 200
    part = augmentation.resized_crop(image, 0.08, (0.0, 0.5, 0.2, 0.5))
    assert part.shape == image.shape
    assert part.eq(200).all()  # a quarter of the area at the top
    hole = augmentation.erased(image, (0.5, 0.5, 0.5, 0.5), torch.Generator().manual_seed(0))
    share = (hole != image).any(0).float().mean()
    assert share == pytest.approx((0.02 + 0.33) / 2, abs=0.02)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_a_mixed_batch_has_the_loss_of_its_mixed_targets(
    scripts: SimpleNamespace, mixup: float, cutmix: float
) -> None:
    augmentation = importlib.import_module("runtime.augmentation")
    images, targets = torch.randn(6, 1, 8, 8), torch.arange(6)
    torch.manual_seed(3)
    mixture, share = augmentation.mixed(images, mixup, cutmix)
    assert 0 <= share <= 1
    if not mixup:
        own = (mixture == images).flatten(1).float().mean(1)
        assert torch.allclose(own, torch.tensor(share))
    model = scripts.model.Model(scripts.model.Config()).train()
    torch.nn.init.normal_(model.classifier.weight)
    config = scripts.train.Config(label_smoothing=0.1, mixup=mixup, cutmix=cutmix)
    torch.manual_seed(3)
    loss, count = scripts.train.training_loss(model, (images, targets), config)
    both = torch.nn.functional.one_hot(targets, 10).float()
    soft = share * both + (1 - share) * both.flip(0)
    logits = model(mixture)
    assert count == 6
    expected = torch.nn.functional.cross_entropy(logits, soft, label_smoothing=0.1)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_drop_path_leaves_deeper_blocks_out_in_training_only(family: str, tmp_path: Path) -> None:
    shape = SHAPES[family]["square"]
    with code_of(write_package(tmp_path / "code", family, shape)) as code:
        torch.manual_seed(0)
        model = code.train.built(code.model.Config(**shape), 1.0)
        rates = [
            module.rate
            for block in model.layers
            for module in block.modules()
            if isinstance(module, code.model.StochasticDepth)
        ]
        assert rates[0] == 0.0
        assert rates[-1] == 1.0
        assert rates == sorted(rates)
        depth = code.model.StochasticDepth()
        depth.rate = 0.25
        x = torch.ones(4000, 2)
        dropped = depth(x)
        assert dropped.eq(0).all(1).float().mean() == pytest.approx(0.25, abs=0.03)
        assert dropped.mean() == pytest.approx(1.0, abs=0.05)
        assert depth.eval()(x) is x


def test_a_stopped_run_with_every_augmentation_goes_on_to_the_same_bits(
    image_folder: Path, tmp_path: Path
) -> None:
    package = write_package(tmp_path / "code", "vit", SHAPES["vit"]["square"], **HEAVY, flip=True)
    config = json.loads((package / "config.json").read_text())
    config["proxy"]["train"] |= {"mixup": 0.8, "cutmix": 1.0, "drop_path": 0.5}
    (package / "config.json").write_text(json.dumps(config))
    options = ("--data", image_folder, "--threads", 1, "--schedule-steps", 6)
    with code_of(package) as heavy:
        heavy.run("train", *options, "--out", tmp_path / "straight", "--steps", 6)
        heavy.run("train", *options, "--out", tmp_path / "stopped", "--steps", 3)
        heavy.run("train", *options, "--out", tmp_path / "stopped", "--steps", 6, "--resume")
    assert same_checkpoint(tmp_path / "straight/checkpoint", tmp_path / "stopped/checkpoint")
