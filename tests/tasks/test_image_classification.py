"""Image classification: checkpoints that fit, scores, and what transformers opens."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
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
    write_package,
)
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModelForImageClassification

from metagen import paths
from metagen.cli import main

pytestmark = pytest.mark.usefixtures("one_thread")


# Checkpoints of other classes


def test_the_full_model_keeps_its_number_of_classes(
    scripts: SimpleNamespace, image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        scripts.run("train", "--size", "full", "--data", image_folder, "--out", tmp_path)
    assert "the data has 2 classes, and the full model has 10" in capsys.readouterr().err


def test_a_checkpoint_of_other_classes_is_refused(
    scripts: SimpleNamespace, image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scripts.run("train", "--data", image_folder, "--out", tmp_path, "--steps", 1, "--threads", 1)
    with pytest.raises(SystemExit):
        scripts.run("eval", "--out", tmp_path)
    assert "was trained on other classes than those of digits" in capsys.readouterr().err


# Scores


def test_the_baselines_are_those_of_scikit_learn(scripts: SimpleNamespace) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import StandardScaler

    config = scripts.eval.Config()
    images = scripts.data.load_images(scripts.data.Config(), None, scripts.model.Config())
    scores = dict(scripts.eval.baselines(images, lambda: images, config))
    train, test = (images.splits[split] for split in ("train", "test"))
    known, asked = (
        scripts.eval.flat_pixels(split, config.batch_size).numpy() for split in (train, test)
    )
    scaler = StandardScaler().fit(known)
    theirs = LogisticRegression(max_iter=500).fit(scaler.transform(known), train.targets)
    expected = theirs.predict_proba(scaler.transform(asked))
    found = scores["logistic regression"]
    assert float(scripts.eval.log_losses(found, test.targets).mean()) == pytest.approx(
        log_loss(test.targets, expected), rel=0.01
    )
    nearest = KNeighborsClassifier(1).fit(known, train.targets).predict(asked)
    assert scores["1-NN"].argmax(-1).tolist() == nearest.tolist()


def test_equal_channels_of_grey_images_count_once(scripts: SimpleNamespace) -> None:
    grey = [torch.rand(3, 1, 4).expand(-1, 3, -1).flatten(1), torch.rand(2, 1, 4).repeat(1, 3, 1)]
    rows = [each.flatten(1) for each in grey]
    assert [tuple(each.shape) for each in scripts.eval.without_copies(rows, 3)] == [(3, 4), (2, 4)]
    rows[1][0, -1] += 1  # one pixel has a colour
    assert scripts.eval.without_copies(rows, 3) is rows


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
    code: SimpleNamespace, image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--data", image_folder, "--out", tmp_path, "--threads", 1)
    code.run("data", "--data", image_folder)
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

    photo = image_folder / "left" / "000.png"
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
    normalized = code.image_batches.normalized(pixels, code.data.Config())
    torch.testing.assert_close(prepared[0], normalized, atol=1e-6, rtol=0.0)
    with torch.no_grad():
        torch.testing.assert_close(theirs(prepared).logits, ours(prepared), **CLOSE)


@pytest.mark.slow
@pytest.mark.ci
def test_a_stopped_run_goes_on_to_the_same_bits(
    code: SimpleNamespace, image_folder: Path, tmp_path: Path
) -> None:
    options = ("--data", image_folder, "--threads", 1, "--schedule-steps", 6)
    code.run("train", *options, "--out", tmp_path / "straight", "--steps", 6)
    code.run("train", *options, "--out", tmp_path / "stopped", "--steps", 2)
    code.run("train", *options, "--out", tmp_path / "stopped", "--steps", 6, "--resume")
    assert same_checkpoint(tmp_path / "straight/checkpoint", tmp_path / "stopped/checkpoint")


@pytest.mark.slow
@pytest.mark.ci
def test_gradient_checkpointing_changes_no_bit_nor_statistic(
    code: SimpleNamespace, image_folder: Path, tmp_path: Path
) -> None:
    options = ("--data", image_folder, "--threads", 1, "--steps", 3)
    code.run("train", *options, "--out", tmp_path / "plain")
    for mode in ("full", "selective"):
        code.run("train", *options, "--out", tmp_path / mode, "--grad-checkpoint", mode)
        assert same_checkpoint(tmp_path / "plain/checkpoint", tmp_path / mode / "checkpoint")


@pytest.mark.slow
@pytest.mark.ci
def test_replicas_and_shards_keep_one_set_of_running_statistics(
    image_folder: Path, tmp_path: Path
) -> None:
    code = write_package(tmp_path / "code", "resnet", SHAPES["resnet"]["square"])
    found = {}
    for mode in ("ddp", "fsdp"):
        launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
        options = ("--data", image_folder, "--threads", 1, "--parallel", mode)
        out = ("--out", tmp_path / mode)
        line = [sys.executable, *launcher, "train.py", *map(str, (*options, *out))]
        subprocess.run(
            line, cwd=code, check=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        found[mode] = load_file(tmp_path / mode / "checkpoint" / "model.safetensors")
        lines = (tmp_path / mode / "metrics.jsonl").read_text().splitlines()
        found[mode]["validation"] = torch.tensor(json.loads(lines[-1])["val_loss"])
    assert found["ddp"].keys() == found["fsdp"].keys()
    for name, tensor in found["ddp"].items():
        torch.testing.assert_close(found["fsdp"][name], tensor, **CLOSE)
