"""Images and masks: which stay together, how they are cut, and which are refused in a sentence."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from segmentation_settings import MODEL, TINY, Modules


def test_the_scans_of_a_patient_stay_together_and_void_does_not_count(
    code: Modules, scans: Path
) -> None:
    config = code["model"].Config(**MODEL)
    data = code["data"].load_scenes(code["data"].Config(), scans, config)
    patients = {s: {image.parent.name for image, _ in each} for s, each in data.splits.items()}
    assert sum(map(len, patients.values())) == 12
    assert sum(map(len, data.splits.values())) == 48
    image, mask = data.pair("train", 0)
    assert image.shape == (1, 16, 24)
    assert mask[0, 0] == -1
    assert set(mask.unique().tolist()) <= {-1, 0, 1, 2}


def test_images_and_masks_are_cut_and_turned_alike(code: Modules, scans: Path) -> None:
    config = code["model"].Config(**MODEL)
    settings = code["data"].Config(**TINY["data"])
    data = code["data"].load_scenes(settings, scans, config)
    images, masks = code["data"].batch_at(data, settings, 3, 40, seed=1)
    assert images.shape == (40, 1, 8, 8)
    bright = images[:, 0] > 0.5  # 220 of 255 and nothing else: class 1, or void
    assert ((masks[bright] == 1) | (masks[bright] == -1)).all()
    assert (masks == 1).any()
    again = code["data"].batch_at(data, settings, 13, 30, seed=1)
    assert torch.equal(images[10:], again[0])
    assert torch.equal(masks[10:], again[1])


def test_bundled_splits_keep_a_gap(code: Modules) -> None:
    parts = code["data"]._parts(141, code["data"].Config(**TINY["data"]))
    places = sorted((number, split) for split, each in parts.items() for number in each)
    steps = [b[0] - a[0] for a, b in itertools.pairwise(places) if a[1] != b[1]]
    assert len(steps) == 3
    assert min(steps) == TINY["data"]["gap"] + 1


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "masks/p1/2.png").unlink(), "has no mask"),
        (lambda f: paint(f, np.full((16, 24), 3)), "holds class 3"),
        (lambda f: paint(f, np.zeros((16, 24, 3))), "holds colours"),
        (lambda f: (f / "masks/p1/2.png").write_text("no image"), "cannot be read"),
        (lambda f: (f / "images").rename(f / "pictures"), "no folder with images"),
    ],
)
def test_bad_masks_are_refused_in_a_sentence(
    code: Modules, scans: Path, spoil: object, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(scans)

    def read() -> None:
        settings, config = code["data"].Config(), code["model"].Config(**MODEL)
        data = code["data"].load_scenes(settings, scans, config)
        for split, each in data.splits.items():
            data.batch(split, range(len(each)))

    with pytest.raises(SystemExit) as caught:
        read()
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def paint(folder: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels.astype(np.uint8)).save(folder / "masks/p1/2.png")
