"""The generated modules of the U-Net, and scans with masks to give them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from family_code import modules_of, write_code
from PIL import Image
from segmentation_settings import TINY, Modules

from metagen.families import segmentation_unet as unet


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Modules]:
    folder = write_code(tmp_path_factory.mktemp("code"), unet, TINY)
    with modules_of(folder) as modules:
        yield modules


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Return 4 scans of each of 12 patients; a bright square is class 1, a grey one 2."""
    draw = np.random.default_rng(0)
    for patient in range(12):
        for kind in ("images", "masks"):
            (tmp_path / kind / f"p{patient}").mkdir(parents=True)
        for scan in range(4):
            image, mask = draw.integers(0, 40, (16, 24)), np.zeros((16, 24))
            for number, brightness in ((1, 220), (2, 120)):
                y, x = draw.integers(0, 12), draw.integers(0, 20)
                image[y : y + 4, x : x + 4], mask[y : y + 4, x : x + 4] = brightness, number
            mask[0, 0] = 255
            for kind, pixels in (("images", image), ("masks", mask)):
                path = tmp_path / kind / f"p{patient}" / f"{scan}.png"
                Image.fromarray(pixels.astype(np.uint8)).save(path)
    return tmp_path
