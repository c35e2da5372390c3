"""The generated code of CLIP, and images with captions to give it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from clip_settings import TINY, Modules
from family_code import modules_of, write_code
from PIL import Image

from metagen.families import clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_code(tmp_path_factory.mktemp("code"), clip, TINY)


@pytest.fixture(scope="module")
def code(folder: Path) -> Iterator[Modules]:
    with modules_of(folder) as modules:
        yield modules


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of 40 images of one brightness each, with two captions a piece."""
    (tmp_path / "a").mkdir()
    lines = []
    for n in range(40):
        Image.new("RGB", (20, 17), (6 * n,) * 3).save(tmp_path / "a" / f"{n}.png")
        lines += [{"file_name": f"a/{n}.png", "text": f"{word} {n}"} for word in ("grey", "tone")]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (tmp_path / "metadata.jsonl").write_text(text)
    return tmp_path
