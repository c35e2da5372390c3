"""The average of the weights, exact resume, and what a run on images learns."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from diffusion_settings import LARGE, SMALL, Modules
from family_code import beats_its_baselines
from PIL import Image
from safetensors.torch import load_file
from torch import nn


def test_the_average_forgets_at_its_rate_and_leaves_the_weights_alone(code: Modules) -> None:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 0.0)
    average = sys.modules["runtime.ema"].Average(layer, 0.9)
    nn.init.constant_(layer.weight, 1.0)
    average.update(1000)
    assert average.weights["weight"].item() == pytest.approx(0.1)
    average.update(0)
    assert average.weights["weight"].item() == pytest.approx(0.91)
    with average.in_place() as raw:
        assert layer.weight.item() == pytest.approx(0.91)
        assert raw["weight/raw"].item() == 1
    assert layer.weight.item() == 1


def ran(code: Modules, monkeypatch: pytest.MonkeyPatch, name: str, *options: object) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--threads", "1", *map(str, options)])
    code[name].main()


def test_a_resumed_run_ends_in_the_same_bits(
    code: Modules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    ran(code, monkeypatch, "train", "--out", straight)
    ran(code, monkeypatch, "train", "--out", resumed, "--steps", 2)
    ran(code, monkeypatch, "train", "--out", resumed, "--resume")
    for name in ("model.safetensors", "optimizer.safetensors"):
        one, two = (load_file(out / "checkpoint" / name) for out in (straight, resumed))
        assert one.keys() == two.keys()
        assert all(one[key].equal(two[key]) for key in one)
    averaged, raw = (
        load_file(straight / "checkpoint" / f"{name}.safetensors")
        for name in ("model", "optimizer")
    )
    assert {f"{name}/raw" for name in averaged} <= raw.keys()
    assert not averaged["conv_out.weight"].equal(raw["conv_out.weight/raw"])


def test_a_run_on_your_images_is_scored_and_drawn(
    code: Modules,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    common = ("--data", pictures, "--out", tmp_path / "out")
    ran(code, monkeypatch, "train", *common)
    capsys.readouterr()
    ran(code, monkeypatch, "eval", *common)
    report = json.loads(capsys.readouterr().out)
    distance, accuracy, nearest = report["metrics"]
    assert distance["baselines"]["real training images"] < distance["baselines"]["noise"]
    assert accuracy["baselines"]["class Gaussian"] == 1
    assert nearest["status"] == "no score"
    assert nearest["higher_is_better"] is None
    assert nearest["baselines"].keys() == {"real test images"}
    assert [len(row) for row in report["figure"]["rows"]] == [9, 9]
    ran(code, monkeypatch, "infer", "--out", tmp_path / "out", "--prompt", "red")
    image = Image.open(tmp_path / "out/samples.png")
    assert image.size == (2 * 66, 66)


@pytest.mark.slow
@pytest.mark.parametrize("spec", [pytest.param(SMALL, marks=pytest.mark.ci), LARGE])
def test_the_proxy_beats_noise_in_its_few_steps(spec: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    beats_its_baselines(spec, tmp_path, only="noise")


@pytest.mark.slow
@pytest.mark.parametrize("spec", [SMALL, LARGE])
def test_the_proxy_beats_the_gaussian_of_each_class_where_it_trains_longer(
    spec: Path, tmp_path: Path
) -> None:
    pytest.importorskip("sklearn")
    beats_its_baselines(spec, tmp_path, "evaluation.bench=full", only="class Gaussian")
