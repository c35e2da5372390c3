"""What tests of image classification share: images of two classes, and the scripts of a package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.image_classifiers import SHAPES, code_of, write_images, write_package


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute small things on one thread, which is quicker beside other tests."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The scripts of one family, for what is the same in all."""
    folder = tmp_path_factory.mktemp("data") / "code"
    with code_of(write_package(folder, "vit", SHAPES["vit"]["square"])) as found:
        yield found
