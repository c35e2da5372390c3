"""Folders and rows of images: splits that do not leak, what is read, refusals and notes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.image_classifiers import (
    write_images,
)
from PIL import Image

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_cut_is_stratified_and_keeps_equal_images_together(scripts: SimpleNamespace) -> None:
    targets = [0] * 100 + [1] * 40
    keys = [f"{n % 90:04}" for n in range(140)]
    splits = scripts.data.stratified(targets, keys, {"val": 0.1, "test": 0.2})
    assert (
        scripts.data.stratified(targets[::-1], keys[::-1], {"val": 0.1, "test": 0.2})
        == splits[::-1]
    )
    places: dict[tuple[int, str], set[str]] = {}
    for target, key, split in zip(targets, keys, splits, strict=True):
        places.setdefault((target, key), set()).add(split)
    assert all(len(each) == 1 for each in places.values())
    for target, distinct in ((0, 90), (1, 40)):
        found = [split for (t, _), (split,) in places.items() if t == target]
        assert (found.count("val"), found.count("test")) == (distinct // 10, distinct // 5)


def test_the_digits_are_whole(scripts: SimpleNamespace) -> None:
    images = scripts.data.load_images(scripts.data.Config(), None, scripts.model.Config())
    sizes = {split: len(each.targets) for split, each in images.splits.items()}
    assert sum(sizes.values()) == 1797
    assert sizes["test"] == pytest.approx(360, abs=2)


def test_a_folder_of_splits_is_taken_as_it_is_and_what_lacks_is_cut_from_train(
    scripts: SimpleNamespace, tmp_path: Path
) -> None:
    write_images(tmp_path / "train", 20)
    write_images(tmp_path / "validation", 3, side=14)
    copied = tmp_path / "train" / "left" / "again.png"
    copied.write_bytes((tmp_path / "validation" / "left" / "000.png").read_bytes())
    images = scripts.data.load_images(scripts.data.Config(), tmp_path, scripts.model.Config())
    sizes = {split: len(images.splits[split].targets) for split in scripts.data.SPLITS}
    assert sizes["val"] == 6
    assert sizes["test"] == 8
    assert sizes["train"] == 32  # without the one that is in the validation split


def test_a_photo_is_turned_upright_and_cut_to_its_middle(
    scripts: SimpleNamespace, tmp_path: Path
) -> None:
    image = Image.new("RGB", (30, 10), (255, 0, 0))
    image.paste((0, 255, 0), (10, 0, 20, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright: rows are columns
    image.save(tmp_path / "photo.png", exif=exif)
    found = scripts.images.read_image(tmp_path / "photo.png", (8, 8), 3)
    assert found.shape == (3, 8, 8)
    red, green, blue = found.flatten(1).float().mean(1).tolist()
    assert green > 240 > 15 > red
    assert blue == 0


def test_an_image_of_16_bits_keeps_its_shades(scripts: SimpleNamespace, tmp_path: Path) -> None:
    shades = torch.arange(0, 2**16, 1024).reshape(8, 8).to(torch.int32)
    Image.fromarray(shades.numpy().astype("uint16")).save(tmp_path / "scan.png")
    found = scripts.images.read_image(tmp_path / "scan.png", (8, 8), 1)
    assert found.flatten().tolist() == (shades.flatten() >> 8).tolist()


def test_images_that_do_not_fit_in_memory_are_read_again(
    scripts: SimpleNamespace, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = scripts.images.image_files(image_folder)
    whole = scripts.images.ImageFiles(files, (8, 8), 1)[range(len(files))]
    monkeypatch.setattr(scripts.images, "KEPT_BYTES", 10 * 64)
    some = scripts.images.ImageFiles(files, (8, 8), 1)
    for start in (0, 20, 5, 40):
        indices = [*range(start, start + 15), start]
        some.expect(range(30))
        assert torch.equal(some[indices], whole[indices])
    assert len(some._kept) == 10


# Refusals


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
    scripts: SimpleNamespace, case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, sentence = BAD_DATA[case]
    make(tmp_path / "images")
    with pytest.raises(SystemExit) as ended:
        scripts.run("data", "--data", tmp_path / "images")
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence in said


def test_classes_that_are_not_tested_are_named_by_every_script(
    scripts: SimpleNamespace, image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rare = shutil.copytree(image_folder, tmp_path / "rare")
    for number in range(2, 30):
        (rare / "right" / f"{number:03}.png").unlink()
    scripts.run("data", "--data", rare)
    out, err = capsys.readouterr()
    assert "test: 6 images, 0 to 6 a class" in out
    assert "rare has no test image of the class right, so no score covers it" in err
    options = ("--data", rare, "--out", tmp_path / "out", "--threads", 1)
    scripts.run("train", *options, "--steps", 1)
    scripts.run("eval", *options)
    assert json.loads(capsys.readouterr().out)["untested"] == ["right"]


def test_folders_that_are_no_classes_and_names_that_look_like_mistakes_are_said(
    scripts: SimpleNamespace, image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = shutil.copytree(image_folder, tmp_path / "mine")
    for name in ("bird/1.heic", "__MACOSX/left/._0.png", "left/notes.txt"):
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_text("x")
    (mine / "owl").mkdir()
    shutil.copytree(mine / "left", mine / "Right")
    shutil.copytree(mine / "left", mine / "test")
    scripts.run("data", "--data", mine)
    out, err = capsys.readouterr()
    assert "no image is read from bird, owl, so they are no classes" in err
    assert "the folder test is read as a class, though its name is that of a split" in err
    assert "the names of classes Right, right differ only in case" in err
    assert "4 classes" in out
    assert "files: 120 PNG L" in out
    assert "left out, hidden or junk: __MACOSX" in out
    assert "left out, of other kinds: 3 of .txt, 1 of .heic" in out


def test_splits_are_known_in_any_case(scripts: SimpleNamespace, tmp_path: Path) -> None:
    write_images(tmp_path / "Training", 20)
    write_images(tmp_path / "TEST", 3, side=14)
    images = scripts.data.load_images(scripts.data.Config(), tmp_path, scripts.model.Config())
    assert images.labels == ("left", "right")
    assert len(images.splits["test"].targets) == 6


def test_images_in_shards_of_the_hub_are_those_of_a_folder(
    scripts: SimpleNamespace, image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    feature = {"label": {"names": ["left", "right"], "_type": "ClassLabel"}}
    about = {b"huggingface": json.dumps({"info": {"features": feature}}).encode()}
    files = sorted(image_folder.rglob("*.png"))
    rows = [
        {"image": {"bytes": f.read_bytes(), "path": f.name}, "label": int(f.parent.name == "right")}
        for f in files
    ]
    for split, part in (("train", rows[::2]), ("test", rows[1::2])):
        table = pa.Table.from_pylist(part).replace_schema_metadata(about)
        (tmp_path / "data").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "data" / f"{split}-00000-of-00001.parquet")
    (tmp_path / "README.md").write_text("about")
    images = scripts.data.load_images(scripts.data.Config(), tmp_path, scripts.model.Config())
    assert images.labels == ("left", "right")
    assert len(images.splits["test"].targets) == 30
    expected = torch.stack([scripts.images.read_image(file, (8, 8), 1) for file in files[1::2]])
    assert torch.equal(images.splits["test"].pixels[range(30)], expected)
    scripts.run("data", "--data", tmp_path)
    assert "left out, of other kinds: 1 of .md" in capsys.readouterr().out
    rows[0]["image"]["bytes"] = b"no image"
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "all.parquet")
    with pytest.raises(SystemExit):
        scripts.run("data", "--data", tmp_path / "all.parquet")
    assert "all.parquet, row 1 cannot be read as an image" in capsys.readouterr().err
