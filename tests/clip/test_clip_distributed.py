"""CLIP in two processes, which contrast with the pairs of both."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest


def _processes(folder: Path, out: Path, count: int, *options: str) -> list[float]:
    """Train in so many processes, and return the losses."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    shared = os.environ | {"MASTER_ADDR": "localhost", "MASTER_PORT": port}
    line = [sys.executable, "train.py", "--out", str(out), "--threads", "1", *options]
    started = [
        subprocess.Popen(
            line,
            cwd=folder,
            env=shared | {"RANK": str(n), "LOCAL_RANK": str(n), "WORLD_SIZE": str(count)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(count)
    ]
    said = [process.communicate(timeout=180)[1] for process in started]
    assert [process.returncode for process in started] == [0] * count, said
    lines = map(json.loads, (out / "metrics.jsonl").open())
    return [value for row in lines for value in (row["train_loss"], row["grad_norm"])]


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_two_processes_contrast_with_the_pairs_of_both(
    folder: Path, photos: Path, tmp_path: Path, mode: str
) -> None:
    data = ("--data", str(photos), "--steps", "3", "--batch-size", "8")
    alone = _processes(folder, tmp_path / "one", 1, *data)
    both = _processes(folder, tmp_path / "two", 2, *data, "--parallel", mode)
    assert both == pytest.approx(alone, rel=1e-3)
