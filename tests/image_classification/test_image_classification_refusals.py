"""Images and classes that do not fit are refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.image_classifiers import write_images
from PIL import Image


def broken(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def build(path: Path) -> None:
        write_images(path, 10)
        make(path)

    return build


BAD_DATA: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing there": (lambda path: None, "images does not exist"),
    "a file": (
        lambda path: path.write_text("x"),
        "is not a folder; it must hold a folder of images",
    ),
    "empty": (lambda path: path.mkdir(), "is not a folder with images (.png, .jpg"),
    "an image outside": (
        broken(lambda p: Image.new("L", (9, 9)).save(p / "stray.png")),
        "stray.png has no class: move it",
    ),
    "one class": (
        broken(lambda p: (p / "left").rename(p / "right" / "left")),
        "has only the class 'right'",
    ),
    "a file that is none": (
        broken(lambda p: (p / "left" / "000.png").write_bytes(b"not a PNG")),
        "000.png cannot be read as an image",
    ),
    "too few": (lambda path: write_images(path, 1), "has too few images: its"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_refused_in_one_sentence(
    data: SimpleNamespace, case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, sentence = BAD_DATA[case]
    make(tmp_path / "images")
    with pytest.raises(SystemExit) as ended:
        data.run("data", "--data", tmp_path / "images")
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence in said


def test_the_full_model_keeps_its_number_of_classes(
    data: SimpleNamespace, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        data.run("train", "--size", "full", "--data", folder, "--out", tmp_path)
    assert "the data has 2 classes, and the full model has 10" in capsys.readouterr().err


def test_a_checkpoint_of_other_classes_is_refused(
    data: SimpleNamespace, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data.run("train", "--data", folder, "--out", tmp_path, "--steps", 1, "--threads", 1)
    with pytest.raises(SystemExit):
        data.run("eval", "--out", tmp_path)
    assert "was trained on other classes than those of digits" in capsys.readouterr().err
