"""PointNet at the size of its paper, and at a tiny one."""

from __future__ import annotations

from typing import Any

from helpers.family_code import TRAIN

PAPER: dict[str, Any] = {
    "n_points": 1024, "num_classes": 40, "width": 64, "d_head": 512, "input_transform": True,
    "feature_transform": True, "dropout": 0.3, "norm_eps": 1e-5,
}  # fmt: skip
SMALL = {**PAPER, "n_points": 12, "num_classes": 3, "width": 4, "d_head": 6, "dropout": 0.0}
TINY: dict[str, dict[str, Any]] = {
    "model": SMALL,
    "data": {"val_fraction": 0.2, "test_fraction": 0.2, "turned": True, "jitter": 0.0},
    "train": TRAIN,
    "eval": {"batch_size": 16, "baseline_clouds": 1000, "baseline_trees": 5},
    "infer": {"batch_size": 16, "digits": 4, "dtype": "float32"},
}
