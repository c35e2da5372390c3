"""Patch classifiers at tiny sizes, and series to train them on."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

from helpers.family_code import TRAIN

MODEL: dict[str, Any] = {
    "lookback": 24, "n_channels": 2, "num_classes": 3, "patch_len": 8, "stride": 4, "d_model": 16,
    "n_layers": 2, "n_heads": 4, "d_ff": 24, "dropout": 0.1, "norm_eps": 1e-5,
}  # fmt: skip
TINY: dict[str, dict[str, Any]] = {
    "model": MODEL,
    "data": {"val_fraction": 0.2, "test_fraction": 0.2},
    "train": TRAIN,
    "eval": {"batch_size": 16, "baseline_series": 1000, "baseline_kernels": 20},
    "infer": {"batch_size": 16, "digits": 4, "dtype": "float32"},
}
Row = dict[str, Any]


def waves(count: int = 60, channels: int = 2, steps: int = 24) -> list[Row]:
    """Return slow and fast waves of any phase; the label says which they are."""
    draw, made = random.Random(0), []
    for number in range(count):
        turns, start = (1, 3)[number % 2], draw.random()
        angles = [2 * math.pi * (turns * step / steps + start) for step in range(steps)]
        series = [[round(math.sin(a + c), 4) for a in angles] for c in range(channels)]
        made.append({"series": series, "label": ("slow", "fast")[number % 2]})
    return made


def write_waves(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
