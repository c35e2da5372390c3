"""Scores of the U-Net by hand, and what it learns of your masks and of the bundled slices."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from family_code import beats_its_baselines
from PIL import Image
from segmentation_settings import SPEC, Modules


def test_scores_are_those_counted_by_hand(code: Modules) -> None:
    truth = torch.tensor([[0, 0, 1, 1, 2, -1]])
    found = torch.tensor([[0, 1, 1, 1, 0, 2]])
    table = code["eval"].confusion(found, truth, 3)
    assert table.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert code["eval"].dice(table) == pytest.approx((2 * 2 / 5 + 0) / 2)
    assert code["eval"].mean_iou(table) == pytest.approx((1 / 3 + 2 / 3 + 0) / 3)


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


@pytest.mark.slow
def test_the_proxy_beats_brightness_on_the_bundled_slices(tmp_path: Path) -> None:
    pytest.importorskip("nilearn")
    beats_its_baselines(SPEC, tmp_path)
