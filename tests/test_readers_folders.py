"""Folders from strangers: what is data, which split a name is, and links that lead nowhere good."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.readers import Readers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for name in ("cat/1.png", "cat/deep/2.PNG", "dog/3.png"):
        touch(root / name)
    return root


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def names(runtime: Readers, folder: Path) -> list[str]:
    found = runtime.listing.list_files(folder, (".png",))
    return [path.relative_to(folder).as_posix() for path in found.files]


JUNK = (
    *("cat/._1.png", "__MACOSX/cat/1.png", ".ipynb_checkpoints/1-checkpoint.png", ".hidden.png"),
    *("cat/.cache/1.png", "@eaDir/1.png", "cat/Thumbs.db", "$RECYCLE.BIN/1.png"),
)


@pytest.mark.parametrize("junk", JUNK)
def test_hidden_files_and_junk_are_no_data_and_are_reported(
    runtime: Readers, folder: Path, junk: str
) -> None:
    before = names(runtime, folder)
    touch(folder / junk)
    assert names(runtime, folder) == before == ["cat/1.png", "cat/deep/2.PNG", "dog/3.png"]
    (line,) = runtime.listing.list_files(folder, (".png",)).left_out()
    assert "hidden or junk" in line


def test_a_hidden_folder_that_the_user_names_is_read(runtime: Readers, folder: Path) -> None:
    moved = folder.rename(folder.with_name(".data"))
    assert len(names(runtime, moved)) == 3


def test_a_link_within_the_folder_is_followed(runtime: Readers, folder: Path) -> None:
    (folder / "dog" / "4.png").symlink_to(folder / "cat" / "1.png")
    touch(folder / ".store" / "owl" / "5.png")
    (folder / "owl").symlink_to(folder / ".store" / "owl")
    assert names(runtime, folder)[2:] == ["dog/3.png", "dog/4.png", "owl/5.png"]


LINKS: dict[str, Callable[[Path], tuple[Path, Path]]] = {
    "a file outside": lambda f: (f / "cat" / "9.png", touch(f.parent / "secret")),
    "a folder outside": lambda f: (f / "owl", touch(f.parent / "other" / "1.png").parent),
    "the folder above": lambda f: (f / "owl", f.parent),
    "nothing": lambda f: (f / "cat" / "9.png", f / "none.png"),
}


@pytest.mark.parametrize("case", LINKS)
def test_a_link_out_of_the_folder_is_refused(
    runtime: Readers, folder: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    link, target = LINKS[case](folder)
    link.symlink_to(target)
    with pytest.raises(SystemExit) as ended:
        names(runtime, folder)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert str(link) in said
    assert said.count("\n") == 1


def test_links_that_lead_back_end_and_are_named(
    runtime: Readers, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = names(runtime, folder)
    (folder / "cat" / "up").symlink_to(folder)
    (folder / "again").symlink_to(folder / "dog")
    assert names(runtime, folder) == before
    said = capsys.readouterr().err
    assert f"{folder / 'cat' / 'up'} leads to {folder}" in said
    assert f"{folder / 'again'} leads to {folder / 'dog'}" in said


def test_a_pipe_is_no_file(runtime: Readers, folder: Path) -> None:
    os.mkfifo(folder / "cat" / "9.png")
    assert len(names(runtime, folder)) == 3


@pytest.mark.parametrize("name", [b"a\nb.png", b"a\x1b[2J.png", b"\xff.png"])
def test_a_name_that_is_no_text_is_refused(
    runtime: Readers, folder: Path, name: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"x")
    with pytest.raises(SystemExit):
        names(runtime, folder)
    said = capsys.readouterr().err
    assert "rename it" in said
    assert said.count("\n") == 1
    assert "\x1b" not in said


NAMES = {
    "train": "train", "Train": "train", "TRAINING": "train", "training_set": "train",
    "train2017": "train", "Val": "val", "valid": "val", "Validation": "val", "dev": "val",
    "Test": "test", "testing": "test", "Test Images": "test", "eval": "test",
    "trains": None, "test tube": None, "latest": None, "cat": None, "train_test": None, "7": None,
}  # fmt: skip


@pytest.mark.parametrize(("name", "split"), NAMES.items())
def test_splits_are_known_by_their_names_in_any_case(
    runtime: Readers, name: str, split: str | None
) -> None:
    assert runtime.splits.split_named(name) == split


def test_folders_are_splits_or_classes_and_a_mixture_is_refused(
    runtime: Readers, capsys: pytest.CaptureFixture[str]
) -> None:
    of = runtime.splits.split_folders
    assert of("x", {"Train", "Test"}) == {"Train": "train", "Test": "test"}
    assert of("x", {"train", "bus", "car"}) == {}
    with pytest.raises(SystemExit):
        of("x", {"Train", "Test", "unlabelled"})
    assert "has the splits Test, Train and beside them unlabelled" in capsys.readouterr().err


SHARDS = {
    ("train.csv", "test.csv"): {"train": 1, "test": 1},
    ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet",
     "data/validation-00000-of-00001.parquet"): {"train": 2, "val": 1},
    ("train/data-00000-of-00001.arrow", "train/state.json", "dataset_dict.json",
     "test/data-00000-of-00001.arrow"): {"train": 1, "test": 1},
    ("imdb_Train.JSONL.GZ", "README.md", "imdb_Dev.jsonl.gz"): {"train": 1, "val": 1},
    ("part-0.csv", "part-1.csv"): {"train": 2},
    ("data-00000-of-00001.arrow", "dataset_info.json", "state.json"): {"train": 1},
}  # fmt: skip


@pytest.mark.parametrize("files", SHARDS)
def test_files_and_shards_of_splits_are_found(
    runtime: Readers, tmp_path: Path, files: tuple[str, ...]
) -> None:
    for name in files:
        touch(tmp_path / name)
    found = runtime.records.split_files(runtime.formats.list_rows(tmp_path))
    assert {split: len(paths) for split, paths in found.items()} == SHARDS[files]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (("train.csv", "train.jsonl"), "has train in several formats"),
        (("test.csv", "a.csv"), "has no file for train"),
    ],
)
def test_files_that_could_be_two_things_are_refused(
    runtime: Readers,
    tmp_path: Path,
    files: tuple[str, ...],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in files:
        touch(tmp_path / name)
    with pytest.raises(SystemExit):
        runtime.records.split_files(runtime.formats.list_rows(tmp_path))
    assert sentence in capsys.readouterr().err


def test_files_beside_splits_are_left_out_aloud(
    runtime: Readers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("train.csv", "test.csv", "unsupervised.csv"):
        touch(tmp_path / name)
    found = runtime.records.split_files(runtime.formats.list_rows(tmp_path))
    assert set(found) == {"train", "test"}
    assert "not read: unsupervised.csv" in capsys.readouterr().err
