"""Image classification: splits that do not leak, refusals, scores, and checkpoints that open."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from helpers.generated import same_checkpoint
from helpers.image_classifiers import (
    CLOSE,
    SHAPES,
    code_of,
    write_images,
    write_package,
)
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModelForImageClassification

from metagen import paths
from metagen.cli import main


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute small things on one thread, which is quicker beside other tests."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The scripts of one family, for what is the same in both."""
    folder = tmp_path_factory.mktemp("data") / "code"
    with code_of(write_package(folder, "vit", SHAPES["vit"]["square"])) as found:
        yield found


# Data


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


def test_the_digits_are_whole(data: SimpleNamespace) -> None:
    images = data.data.load_images(data.data.Config(), None, data.model.Config())
    sizes = {split: len(each.targets) for split, each in images.splits.items()}
    assert sum(sizes.values()) == 1797
    assert sizes["test"] == pytest.approx(360, abs=2)


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
    data: SimpleNamespace, case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, sentence = BAD_DATA[case]
    make(tmp_path / "images")
    with pytest.raises(SystemExit) as ended:
        data.run("data", "--data", tmp_path / "images")
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence in said


def test_classes_that_are_not_tested_are_named_by_every_script(
    data: SimpleNamespace, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rare = shutil.copytree(folder, tmp_path / "rare")
    for number in range(2, 30):
        (rare / "right" / f"{number:03}.png").unlink()
    data.run("data", "--data", rare)
    out, err = capsys.readouterr()
    assert "test: 6 images, 0 to 6 a class" in out
    assert "rare has no test image of the class right, so no score covers it" in err
    options = ("--data", rare, "--out", tmp_path / "out", "--threads", 1)
    data.run("train", *options, "--steps", 1)
    data.run("eval", *options)
    assert json.loads(capsys.readouterr().out)["untested"] == ["right"]


def test_folders_that_are_no_classes_and_names_that_look_like_mistakes_are_said(
    data: SimpleNamespace, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = shutil.copytree(folder, tmp_path / "mine")
    for name in ("bird/1.heic", "__MACOSX/left/._0.png", "left/notes.txt"):
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_text("x")
    (mine / "owl").mkdir()
    shutil.copytree(mine / "left", mine / "Right")
    shutil.copytree(mine / "left", mine / "test")
    data.run("data", "--data", mine)
    out, err = capsys.readouterr()
    assert "no image is read from bird, owl, so they are no classes" in err
    assert "the folder test is read as a class, though its name is that of a split" in err
    assert "the names of classes Right, right differ only in case" in err
    assert "4 classes" in out
    assert "files: 120 PNG L" in out
    assert "left out, hidden or junk: __MACOSX" in out
    assert "left out, of other kinds: 3 of .txt, 1 of .heic" in out


def test_splits_are_known_in_any_case(data: SimpleNamespace, tmp_path: Path) -> None:
    write_images(tmp_path / "Training", 20)
    write_images(tmp_path / "TEST", 3, side=14)
    images = data.data.load_images(data.data.Config(), tmp_path, data.model.Config())
    assert images.labels == ("left", "right")
    assert len(images.splits["test"].targets) == 6


def test_images_in_shards_of_the_hub_are_those_of_a_folder(
    data: SimpleNamespace, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    feature = {"label": {"names": ["left", "right"], "_type": "ClassLabel"}}
    about = {b"huggingface": json.dumps({"info": {"features": feature}}).encode()}
    files = sorted(folder.rglob("*.png"))
    rows = [
        {"image": {"bytes": f.read_bytes(), "path": f.name}, "label": int(f.parent.name == "right")}
        for f in files
    ]
    for split, part in (("train", rows[::2]), ("test", rows[1::2])):
        table = pa.Table.from_pylist(part).replace_schema_metadata(about)
        (tmp_path / "data").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "data" / f"{split}-00000-of-00001.parquet")
    (tmp_path / "README.md").write_text("about")
    images = data.data.load_images(data.data.Config(), tmp_path, data.model.Config())
    assert images.labels == ("left", "right")
    assert len(images.splits["test"].targets) == 30
    expected = torch.stack([data.images.read_image(file, (8, 8), 1) for file in files[1::2]])
    assert torch.equal(images.splits["test"].pixels[range(30)], expected)
    data.run("data", "--data", tmp_path)
    assert "left out, of other kinds: 1 of .md" in capsys.readouterr().out
    rows[0]["image"]["bytes"] = b"no image"
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "all.parquet")
    with pytest.raises(SystemExit):
        data.run("data", "--data", tmp_path / "all.parquet")
    assert "all.parquet, row 1 cannot be read as an image" in capsys.readouterr().err


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


# Scores


def test_the_baselines_are_those_of_scikit_learn(data: SimpleNamespace) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import StandardScaler

    config = data.eval.Config()
    images = data.data.load_images(data.data.Config(), None, data.model.Config())
    scores = dict(data.eval.baselines(images, lambda: images, config))
    train, test = (images.splits[split] for split in ("train", "test"))
    known, asked = (data.eval.flat_pixels(split, config).numpy() for split in (train, test))
    scaler = StandardScaler().fit(known)
    theirs = LogisticRegression(max_iter=500).fit(scaler.transform(known), train.targets)
    expected = theirs.predict_proba(scaler.transform(asked))
    found = scores["logistic regression"]
    assert float(data.eval.log_losses(found, test.targets).mean()) == pytest.approx(
        log_loss(test.targets, expected), rel=0.01
    )
    nearest = KNeighborsClassifier(1).fit(known, train.targets).predict(asked)
    assert scores["1-NN"].argmax(-1).tolist() == nearest.tolist()


def test_equal_channels_of_grey_images_count_once(data: SimpleNamespace) -> None:
    grey = [torch.rand(3, 1, 4).expand(-1, 3, -1).flatten(1), torch.rand(2, 1, 4).repeat(1, 3, 1)]
    rows = [each.flatten(1) for each in grey]
    assert [tuple(each.shape) for each in data.eval.without_copies(rows, 3)] == [(3, 4), (2, 4)]
    rows[1][0, -1] += 1  # one pixel has a colour
    assert data.eval.without_copies(rows, 3) is rows


def benchmark(name: str, folder: Path, bench: str) -> dict[str, dict[str, Any]]:
    """Build a package and return the results of its proxy by metric."""
    spec = paths.specs() / "image" / f"{name}.yaml"
    line = ["synth", str(spec), "--out", str(folder), "--run-id", name, f"evaluation.bench={bench}"]
    done = CliRunner().invoke(main, line)
    assert done.exit_code == 0, done.output
    rows = json.loads((folder / f"run-{name}" / "benchmarks" / "results.json").read_text())
    return {row["metric"]: row for row in rows if row["status"] == "measured"}


def beaten(row: dict[str, Any]) -> set[str]:
    sign = 1 if row["higher_is_better"] else -1
    return {name for name, value in row["baselines"].items() if sign * (row["value"] - value) > 0}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param("image_vit_base", marks=pytest.mark.ci), "image_classifier_resnet"]
)
def test_a_proxy_learns_more_than_how_frequent_the_digits_are(name: str, tmp_path: Path) -> None:
    for row in benchmark(name, tmp_path, "quick").values():
        assert "majority" in beaten(row)
        if "resnet" in name:
            assert beaten(row) == row["baselines"].keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["image_vit_base", "image_classifier_resnet"])
def test_a_longer_training_beats_every_baseline(name: str, tmp_path: Path) -> None:
    found = benchmark(name, tmp_path, "full")
    assert found.keys() == {"accuracy", "macro_f1", "log_loss"}
    for row in found.values():
        assert beaten(row) == row["baselines"].keys()


# Training


@pytest.fixture(scope="module", params=SHAPES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def code(family: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    folder = write_package(tmp_path_factory.mktemp(family), family, SHAPES[family]["square"])
    with code_of(folder) as found:
        yield found


def test_a_folder_becomes_a_checkpoint_that_labels_and_opens_in_transformers(
    code: SimpleNamespace, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--data", folder, "--out", tmp_path, "--threads", 1)
    code.run("data", "--data", folder)
    assert "2 classes" in capsys.readouterr().out
    code.run("train", *options, "--steps", 25)
    code.run("eval", *options)
    report = json.loads(capsys.readouterr().out)
    scores = {metric["metric"]: metric for metric in report["metrics"]}
    assert scores["accuracy"]["value"] > scores["accuracy"]["baselines"]["majority"] == 0.5
    assert scores["accuracy"]["baselines"]["logistic regression"] == 1.0
    assert report["n"] == 12
    assert report["figure"]["labels"] == ["left", "right"]
    assert sum(map(sum, report["figure"]["values"])) == 12

    photo = folder / "left" / "000.png"
    code.run("infer", *options, "--input", photo, "--top", 1)
    assert capsys.readouterr().out.startswith(f"{photo}: left ")
    code.run("infer", *options)
    assert capsys.readouterr().out.count("validation image") == 3

    theirs = AutoModelForImageClassification.from_pretrained(tmp_path / "checkpoint")
    assert theirs.config.id2label == {0: "left", 1: "right"}
    processor = AutoImageProcessor.from_pretrained(tmp_path / "checkpoint")
    config = code.model.Config(**{**asdict(code.model.Config()), "num_classes": 2})
    build = lambda: code.model.Model(config)  # noqa: E731
    ours = importlib.import_module("runtime.weights").load_model(build, tmp_path / "checkpoint")
    with Image.open(photo) as file:
        prepared = processor(file, return_tensors="pt")["pixel_values"]
    size = (config.image_height, config.image_width)
    pixels = code.images.read_image(photo, size, config.num_channels)
    normalized = code.data.normalized(pixels, code.data.Config())
    torch.testing.assert_close(prepared[0], normalized, atol=1e-6, rtol=0.0)
    with torch.no_grad():
        torch.testing.assert_close(theirs(prepared).logits, ours(prepared), **CLOSE)


def test_a_stopped_run_goes_on_to_the_same_bits(
    code: SimpleNamespace, folder: Path, tmp_path: Path
) -> None:
    options = ("--data", folder, "--threads", 1, "--schedule-steps", 6)
    code.run("train", *options, "--out", tmp_path / "straight", "--steps", 6)
    code.run("train", *options, "--out", tmp_path / "stopped", "--steps", 2)
    code.run("train", *options, "--out", tmp_path / "stopped", "--steps", 6, "--resume")
    assert same_checkpoint(tmp_path / "straight/checkpoint", tmp_path / "stopped/checkpoint")


def test_gradient_checkpointing_changes_no_bit_nor_statistic(
    code: SimpleNamespace, folder: Path, tmp_path: Path
) -> None:
    options = ("--data", folder, "--threads", 1, "--steps", 3)
    code.run("train", *options, "--out", tmp_path / "plain")
    for mode in ("full", "selective"):
        code.run("train", *options, "--out", tmp_path / mode, "--grad-checkpoint", mode)
        assert same_checkpoint(tmp_path / "plain/checkpoint", tmp_path / mode / "checkpoint")


@pytest.mark.slow
@pytest.mark.ci
def test_replicas_and_shards_keep_one_set_of_running_statistics(
    folder: Path, tmp_path: Path
) -> None:
    code = write_package(tmp_path / "code", "resnet", SHAPES["resnet"]["square"])
    found = {}
    for mode in ("ddp", "fsdp"):
        launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
        options = ("--data", folder, "--threads", 1, "--parallel", mode, "--out", tmp_path / mode)
        line = [sys.executable, *launcher, "train.py", *map(str, options)]
        subprocess.run(
            line, cwd=code, check=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        found[mode] = load_file(tmp_path / mode / "checkpoint" / "model.safetensors")
        lines = (tmp_path / mode / "metrics.jsonl").read_text().splitlines()
        found[mode]["validation"] = torch.tensor(json.loads(lines[-1])["val_loss"])
    assert found["ddp"].keys() == found["fsdp"].keys()
    for name, tensor in found["ddp"].items():
        torch.testing.assert_close(found["fsdp"][name], tensor, **CLOSE)
