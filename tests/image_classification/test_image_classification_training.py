"""From a folder of images to a checkpoint: opened by transformers, resumed, and sharded."""

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

import pytest
import torch
from helpers.image_classifiers import CLOSE, SHAPES, code_of, write_package
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModelForImageClassification


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
    ours = importlib.import_module("runtime.checkpoint").load_model(build, tmp_path / "checkpoint")
    with Image.open(photo) as file:
        prepared = processor(file, return_tensors="pt")["pixel_values"]
    size = (config.image_height, config.image_width)
    pixels = code.images.read_image(photo, size, config.num_channels)
    normalized = code.data.normalized(pixels, code.data.Config())
    torch.testing.assert_close(prepared[0], normalized, atol=1e-6, rtol=0.0)
    with torch.no_grad():
        torch.testing.assert_close(theirs(prepared).logits, ours(prepared), **CLOSE)


def tensors(out: Path) -> dict[str, torch.Tensor]:
    files = (out / "checkpoint" / f"{name}.safetensors" for name in ("model", "optimizer"))
    return {f"{file.stem}/{k}": v for file in files for k, v in load_file(file).items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(one[key].equal(two[key]) for key in one)


def test_a_stopped_run_goes_on_to_the_same_bits(
    code: SimpleNamespace, folder: Path, tmp_path: Path
) -> None:
    options = ("--data", folder, "--threads", 1, "--schedule-steps", 6)
    code.run("train", *options, "--out", tmp_path / "straight", "--steps", 6)
    code.run("train", *options, "--out", tmp_path / "stopped", "--steps", 2)
    code.run("train", *options, "--out", tmp_path / "stopped", "--steps", 6, "--resume")
    assert same(tensors(tmp_path / "straight"), tensors(tmp_path / "stopped"))


def test_gradient_checkpointing_changes_no_bit_nor_statistic(
    code: SimpleNamespace, folder: Path, tmp_path: Path
) -> None:
    options = ("--data", folder, "--threads", 1, "--steps", 3)
    code.run("train", *options, "--out", tmp_path / "plain")
    code.run("train", *options, "--out", tmp_path / "again", "--grad-checkpoint")
    assert same(tensors(tmp_path / "plain"), tensors(tmp_path / "again"))


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
