"""Semantic segmentation: images and masks, scores by hand, and what a run learns."""

from __future__ import annotations

import io
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from helpers.family_code import beats_its_baselines, modules_of, write_code
from helpers.segmentation_settings import MODEL, SPEC, TINY, Modules
from PIL import Image

from metagen.errors import SpecError
from metagen.families.segmentation_unet import FAMILY as unet


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Modules]:
    with modules_of(write_code(tmp_path_factory.mktemp("code"), unet, TINY)) as modules:
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


def stored(scans: Path, **changed: bytes) -> dict[str, list[dict[str, bytes]]]:
    """Return the scans as columns of the Hub; `changed` replaces the first image or mask."""
    images = sorted((scans / "images").rglob("*.png"))
    masks = sorted((scans / "masks").rglob("*.png"))
    columns = {"image": images, "annotation": masks}
    table = {n: [{"bytes": file.read_bytes()} for file in each] for n, each in columns.items()}
    for name, data in changed.items():
        table[name][0] = {"bytes": data}
    return table


def parquet(path: Path, table: dict[str, list[Any]], rows: slice = slice(None)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cut = {name: column[rows] for name, column in table.items()}
    pyarrow.parquet.write_table(pyarrow.table(cut), path)
    return path


def test_rows_of_parquet_are_the_same_images_and_masks(
    code: Modules, scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, load = code["model"].Config(**MODEL), code["data"].load_scenes
    path = parquet(scans / "rows" / "data.parquet", stored(scans))
    data, files = load(code["data"].Config(), path, config), {}
    assert "each row of train is put into a split by itself" in capsys.readouterr().err
    folder = load(code["data"].Config(), scans, config)

    def pairs(scenes: Any) -> set[tuple[bytes, bytes]]:
        every = (scenes.pair(s, i) for s, each in scenes.splits.items() for i in range(len(each)))
        return {(image.numpy().tobytes(), mask.numpy().tobytes()) for image, mask in every}

    assert sum(map(len, data.splits.values())) == 48
    assert pairs(data) == pairs(folder)
    assert load(code["data"].Config(), path, config).sha256 == data.sha256
    files["one"] = data.sha256
    changed = stored(scans, annotation=stored(scans)["annotation"][5]["bytes"])
    parquet(path, changed)
    assert load(code["data"].Config(), path, config).sha256 != files["one"]


def test_files_named_as_splits_are_these_splits(
    code: Modules, scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, folder = stored(scans), scans / "hub"
    for n, rows in enumerate((slice(0, 20), slice(20, 30))):
        parquet(folder / "data" / f"train-{n:05}-of-00002.parquet", table, rows)
    parquet(folder / "data" / "validation-00000-of-00001.parquet", table, slice(30, 40))
    parquet(folder / "data" / "test-00000-of-00001.parquet", table, slice(40, 48))
    (folder / ".cache.parquet").write_bytes(b"not read")
    data = code["data"].load_scenes(code["data"].Config(), folder, code["model"].Config(**MODEL))
    assert {s: len(each) for s, each in data.splits.items()} == {"train": 30, "val": 10, "test": 8}
    assert "split by itself" not in capsys.readouterr().err


def jpeg() -> bytes:
    stream = io.BytesIO()
    Image.new("L", (24, 16)).save(stream, "JPEG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t | {"other": t["image"]}, "images are in 'image', 'annotation', 'other'"),
        (lambda t: {"image": t["image"]}, "its columns are 'image', and images are in 'image'"),
        (lambda t: {"image": t["image"], "depth": t["annotation"]}, "named mask, annotation"),
        (lambda t: {n: [{"path": "/etc/hostname"}] * 48 for n in t}, "images are in none"),
        (lambda t: t | {"annotation": [{"bytes": jpeg()}] * 48}, ": the mask is a JPEG image"),
        (lambda t: t | {"annotation": [{"bytes": b"no image"}] * 48}, ": the mask cannot be read"),
        (lambda t: {n: each[:0] for n, each in t.items()}, "has no rows"),
    ],
)
def test_rows_that_are_no_images_with_masks_end_in_a_sentence(
    code: Modules, scans: Path, change: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = parquet(scans / "rows" / "data.parquet", change(stored(scans)))
    with pytest.raises(SystemExit):
        code["data"].load_scenes(code["data"].Config(), path, code["model"].Config(**MODEL))
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (None, ("mirror", 0)),
        (True, ("mirror", 0)),
        ((), ("none", 0)),
        (("random_crop",), ("mirror", 8)),
        (("Rotation",), ("dihedral", 0)),
    ],
)
def test_each_augmentation_sets_a_field_of_the_full_model(
    declared: object, expected: tuple[str, int]
) -> None:
    key = {"training.config.data_augmentation": declared}.get
    unet.check(key)
    made = unet.task.data(MODEL, key, reduced=False)
    assert (made["augmentation"], made["crop"]) == expected


def test_an_augmentation_that_the_code_has_not_is_refused() -> None:
    with pytest.raises(SpecError, match="the code of this task has no mixup"):
        unet.check({"training.config.data_augmentation": ("mirror", "mixup")}.get)


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
        (lambda f: (f / "images").rename(f / "pictures"), "not a folder with images"),
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


def test_scores_are_those_counted_by_hand(code: Modules) -> None:
    truth = torch.tensor([[0, 0, 1, 1, 2, -1]])
    found = torch.tensor([[0, 1, 1, 1, 0, 2]])
    table = code["eval"].confusion(found, truth, 3)
    assert table.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    sizes = code["eval"].areas(table)
    assert code["eval"].dice(sizes) == pytest.approx((2 * 2 / 5 + 0) / 2)
    assert code["eval"].mean_iou(sizes) == pytest.approx((1 / 3 + 2 / 3 + 0) / 3)


@pytest.mark.slow
@pytest.mark.ci
def test_a_run_on_your_masks_is_scored_and_drawn(
    code: Modules,
    scans: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    common = ["--data", str(scans), "--out", str(scans / "out"), "--threads", "1"]
    for script, options in (
        ("train", ["--steps", "120", "--batch-size", "8", "--learning-rate", "0.01"]),
        ("eval", []),
        ("infer", ["--input", str(scans / "images/p3/1.png")]),
    ):
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *common, *options])
        capsys.readouterr()
        code[script].main()
        if script == "eval":
            report = json.loads(capsys.readouterr().out)
    dice, iou = report["metrics"]
    assert dice["value"] > dice["baselines"]["all background"] == 0
    assert dice["baselines"]["brightness"] > 0.9
    assert iou["value"] > iou["baselines"]["all background"]
    assert len(report["figure"]["rows"]) == 2
    mask = np.array(Image.open(scans / "out/1_mask.png"))
    assert mask.shape == (16, 24)
    assert mask.max() < 3
    assert np.array(Image.open(scans / "out/1_drawn.png")).shape == (16, 24, 3)


def test_masks_of_0_and_255_teach_and_score_nothing_and_say_so(
    code: Modules,
    scans: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for path in (scans / "masks").rglob("*.png"):
        pixels = np.where(np.array(Image.open(path)) > 0, 255, 0).astype(np.uint8)
        Image.fromarray(pixels).save(path)
    common = ["--data", str(scans), "--out", str(scans / "out"), "--threads", "1"]
    for script, options in (("data", common[:2]), ("train", [*common, "--steps", "1"]),
                            ("eval", common)):  # fmt: skip
        sys.modules["runtime.notes"].note.cache_clear()
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *options])
        code[script].main()
        out, err = capsys.readouterr()
        for split in ("train", "val", "test"):
            assert f"no pixel of any class but the background counts in {split}" in err
        assert "hold 255 (ignored), 0 (background)" in err

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    report = json.loads(out, parse_constant=refuse)
    assert [metric["value"] for metric in report["metrics"]] == [None, None]
    assert [metric["interval"] for metric in report["metrics"]] == [None, None]
    assert report["untested"] == ["class 1", "class 2"]


def test_splits_that_folders_name_stay_and_masks_keep_their_own_suffix(
    code: Modules, scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, name in (("images", "Images"), ("masks", "masks")):
        (scans / name).mkdir(exist_ok=True)
        for split, patients in (("Train", range(8)), ("Test", range(8, 12))):
            for patient in patients:
                target = scans / name / split / f"p{patient}"
                target.parent.mkdir(exist_ok=True)
                (scans / kind / f"p{patient}").rename(target)
    (scans / "images").rmdir()
    mask = scans / "masks" / "Train" / "p0" / "0.png"
    Image.open(mask).save(mask.with_suffix(".TIF"))
    mask.rename(scans / "masks" / "Train" / "p0" / "9.png")
    data = code["data"].load_scenes(code["data"].Config(), scans, code["model"].Config(**MODEL))
    patients = {s: {image.parent.name for image, _ in each} for s, each in data.splits.items()}
    assert patients["test"] == {"p8", "p9", "p10", "p11"}
    assert patients["train"] | patients["val"] == {f"p{number}" for number in range(8)}
    assert "1 masks have no image: Train/p0/9.png" in capsys.readouterr().err


@pytest.mark.slow
def test_the_proxy_beats_brightness_on_the_bundled_slices(tmp_path: Path) -> None:
    pytest.importorskip("nilearn")
    beats_its_baselines(SPEC, tmp_path)
