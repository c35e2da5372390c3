"""The generated modules of both diffusion families, and images to give them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from diffusion_settings import FAMILIES, SCRIPTS
from family_code import modules_of, write_code
from PIL import Image


@pytest.fixture(scope="module", params=FAMILIES)
def code(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The generated modules of a family at a tiny size."""
    family, model = FAMILIES[request.param]
    folder = write_code(tmp_path_factory.mktemp("code"), family, {"model": model, **SCRIPTS})
    with modules_of(folder) as modules:
        yield modules


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModuleType]:
    """The module model.py of each family."""
    found = {}
    for name, (family, model) in FAMILIES.items():
        folder = write_code(tmp_path_factory.mktemp(name), family, {"model": model, **SCRIPTS})
        with modules_of(folder) as modules:
            found[name] = modules["model"]
    return found


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder of red and of blue squares, a folder a class."""
    draw = np.random.default_rng(0)
    for channel, name in ((0, "red"), (2, "blue")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(60):
            pixels = draw.integers(0, 60, (10, 12, 3))
            pixels[..., channel] += 180
            path = tmp_path / "pictures" / name / f"{number}.png"
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    return tmp_path / "pictures"
