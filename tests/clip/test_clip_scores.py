"""How CLIP ranks images and texts: recall, the answers of infer.py, and what its proxy beats."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from clip_settings import SPEC, Modules
from family_code import beats_its_baselines


def test_recall_counts_ties_by_half_and_agrees_with_chance(code: Modules) -> None:
    drawn, recalls = code["eval"].DRAWN, code["eval"].recalls
    right = torch.eye(50, dtype=torch.bool)
    assert recalls(right.float(), right)[0] == 1
    flat = recalls(torch.zeros(50, 50), right)  # all tie: 24.5 wrong ones stand before, on average
    assert flat == [float(k > 24.5) for k in drawn]
    torch.manual_seed(0)
    several = torch.rand(4000, 50) < 0.05
    several[:, 0] |= ~several.any(1)
    random = recalls(torch.rand(4000, 50), several)
    assert random == pytest.approx(code["eval"].chance(several), abs=0.03)


def test_infer_prints_texts_of_an_image_and_images_of_a_text(
    code: Modules,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    common = ["--data", str(photos), "--out", str(photos / "out"), "--threads", "1"]
    monkeypatch.setattr(sys, "argv", ["train.py", *common, "--steps", "1"])
    code["train"].main()
    (photos / "labels.txt").write_text("dark\nbright\n")
    picture = ["--input", str(photos / "a/3.png")]
    for question, answers in (
        (["--prompt", "grey 3"], 3),
        (picture, 3),
        ([*picture, "--texts", str(photos / "labels.txt")], 2),
    ):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["infer.py", *common, *question])
        code["infer"].main()
        cosines = [float(line.split()[0]) for line in capsys.readouterr().out.splitlines()]
        assert len(cosines) == answers
        assert cosines == sorted(cosines, reverse=True)


@pytest.mark.slow
def test_the_proxy_beats_chance_on_the_bundled_glyphs(tmp_path: Path) -> None:
    beats_its_baselines(SPEC, tmp_path, only="chance")


@pytest.mark.slow
def test_trained_longer_it_beats_the_nearest_neighbour(tmp_path: Path) -> None:
    beats_its_baselines(SPEC, tmp_path, "evaluation.bench=full")
