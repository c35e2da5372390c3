"""The generated bench.py: what it measures, of which weights, and with what it says that."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from helpers.generated import Run

FEW = ("--warmup", 1, "--repeats", 2)


def test_a_checkpoint_is_measured_as_infer_uses_it(run: Run, trained: Path) -> None:
    result = json.loads(run("bench", "--out", trained, *FEW))
    assert result["checkpoint"]["step"] == 6
    scores = json.loads((trained / "run.json").read_text())["starts"][-1]["checkpoint"]
    assert result["checkpoint"]["sha256"] == scores["sha256"]
    assert (result["precision"], result["threads"]) == ("float32", 1)
    prefill, decoding = result["cases"]
    assert (prefill["name"], prefill["units"]) == ("prefill", 32)
    assert (decoding["name"], decoding["units"]) == ("decoding", 31)
    for case in result["cases"]:
        times = case["latency"]
        assert 0 < times["lowest"] <= times["median"] <= times["highest"]
        assert case["throughput"] == pytest.approx(case["units"] / times["median"])
    assert result["memory_peak"] > result["bytes"] > 0
    assert "bench.py" in result["code"]


def test_random_weights_need_no_checkpoint(run: Run, tmp_path: Path) -> None:
    options = ("--random", "--prompt-tokens", 5, "--new-tokens", 3, "--weight-bits", 8, *FEW)
    result = json.loads(run("bench", "--out", tmp_path / "none", *options))
    assert result["checkpoint"] is None
    assert [case["units"] for case in result["cases"]] == [5, 2]
    assert result["weight_bits"] == 8
    assert not (tmp_path / "none").exists()
    assert "has no checkpoint" in run("bench", "--out", tmp_path / "none", status=2)


def test_a_prompt_that_leaves_no_room_is_refused(run: Run, trained: Path) -> None:
    options = ("--random", "--prompt-tokens", 60, "--new-tokens", 5)
    assert "have room for 64 tokens together" in run("bench", "--out", trained, *options, status=2)


def test_several_processes_are_refused(
    run: Run, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "measures one device" in run("bench", "--out", trained, status=2)


def test_only_the_work_is_measured_and_not_what_comes_before_it(
    code: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, clock, done = code["runtime.bench"], [0.0], []
    monkeypatch.setattr(bench.time, "perf_counter", lambda: clock[0])

    def prepare() -> Any:
        clock[0] += 100
        turn = len(done)
        done.append(turn)

        def work() -> None:
            clock[0] += (50, 1, 3, 2)[turn]

        return work

    args = type("Args", (), {"warmup": 1, "repeats": 3})
    case = bench.Case("decoding", 1, "tokens", 10, prepare)
    measured = bench._measured(case, args, torch.device("cpu"))
    assert measured["latency"] == {"median": 2, "lowest": 1, "highest": 3}
    assert measured["throughput"] == 5
