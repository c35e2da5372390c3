"""How images are read, cut into splits that do not leak, and varied."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.image_classifiers import DATA, write_images
from PIL import Image


def test_the_cut_is_stratified_and_keeps_equal_images_together(data: SimpleNamespace) -> None:
    targets = [0] * 100 + [1] * 40
    keys = [f"{n % 90:04}" for n in range(140)]
    splits = data.data.stratified(targets, keys, {"val": 0.1, "test": 0.2})
    assert (
        data.data.stratified(targets[::-1], keys[::-1], {"val": 0.1, "test": 0.2}) == splits[::-1]
    )
    places: dict[tuple[int, str], set[str]] = {}
    for target, key, split in zip(targets, keys, splits, strict=True):
        places.setdefault((target, key), set()).add(split)
    assert all(len(each) == 1 for each in places.values())
    for target, distinct in ((0, 90), (1, 40)):
        found = [split for (t, _), (split,) in places.items() if t == target]
        assert (found.count("val"), found.count("test")) == (distinct // 10, distinct // 5)


def test_the_digits_are_whole_and_their_splits_share_no_image(data: SimpleNamespace) -> None:
    images = data.data.load_images(data.data.Config(), None, data.model.Config())
    sizes = {split: len(each.targets) for split, each in images.splits.items()}
    assert sum(sizes.values()) == 1797
    assert sizes["test"] == pytest.approx(360, abs=2)
    seen = {s: {x.numpy().tobytes() for x in each.pixels} for s, each in images.splits.items()}
    assert (
        not seen["train"] & seen["test"] | seen["train"] & seen["val"] | seen["val"] & seen["test"]
    )


def test_a_folder_of_splits_is_taken_as_it_is_and_what_lacks_is_cut_from_train(
    data: SimpleNamespace, tmp_path: Path
) -> None:
    write_images(tmp_path / "train", 20)
    write_images(tmp_path / "validation", 3, side=14)
    copied = tmp_path / "train" / "left" / "again.png"
    copied.write_bytes((tmp_path / "validation" / "left" / "000.png").read_bytes())
    images = data.data.load_images(data.data.Config(), tmp_path, data.model.Config())
    sizes = {split: len(images.splits[split].targets) for split in data.data.SPLITS}
    assert sizes["val"] == 6
    assert sizes["test"] == 8
    assert sizes["train"] == 32  # without the one that is in the validation split


def test_how_a_sample_is_varied_follows_from_its_position_alone(
    data: SimpleNamespace, folder: Path
) -> None:
    config = data.data.Config(**DATA, crop_padding=3, flip=True)
    split = data.data.load_images(config, folder, data.model.Config()).splits["train"]
    whole, targets = data.data.batch_at(split, 10, 12, 0, config, 7)
    parts = [data.data.batch_at(split, start, 4, start + 4, config, 7) for start in (10, 14, 18)]
    assert torch.equal(whole, torch.cat([part[0] for part in parts]))
    assert torch.equal(targets, torch.cat([part[1] for part in parts]))
    again, _ = data.data.batch_at(split, 10 + len(split.targets), 12, 0, config, 7)
    assert not torch.equal(whole, again)


def test_a_photo_is_turned_upright_and_cut_to_its_middle(
    data: SimpleNamespace, tmp_path: Path
) -> None:
    image = Image.new("RGB", (30, 10), (255, 0, 0))
    image.paste((0, 255, 0), (10, 0, 20, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright: rows are columns
    image.save(tmp_path / "photo.png", exif=exif)
    found = data.images.read_image(tmp_path / "photo.png", (8, 8), 3)
    assert found.shape == (3, 8, 8)
    red, green, blue = found.flatten(1).float().mean(1).tolist()
    assert green > 240 > 15 > red
    assert blue == 0


def test_an_image_of_16_bits_keeps_its_shades(data: SimpleNamespace, tmp_path: Path) -> None:
    shades = torch.arange(0, 2**16, 1024).reshape(8, 8).to(torch.int32)
    Image.fromarray(shades.numpy().astype("uint16")).save(tmp_path / "scan.png")
    found = data.images.read_image(tmp_path / "scan.png", (8, 8), 1)
    assert found.flatten().tolist() == (shades.flatten() >> 8).tolist()


def test_images_that_do_not_fit_in_memory_are_read_again(
    data: SimpleNamespace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = data.images.image_files(folder)
    whole = data.images.ImageFiles(files, (8, 8), 1)[range(len(files))]
    monkeypatch.setattr(data.images, "KEPT_BYTES", 10 * 64)
    some = data.images.ImageFiles(files, (8, 8), 1)
    for start in (0, 20, 5, 40):
        indices = [*range(start, start + 15), start]
        some.expect(range(30))
        assert torch.equal(some[indices], whole[indices])
    assert len(some._kept) == 10
