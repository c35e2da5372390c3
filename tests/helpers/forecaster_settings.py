"""Patch Transformers at tiny sizes."""

from __future__ import annotations

from typing import Any

from helpers.family_code import TRAIN

SHAPES: dict[str, dict[str, Any]] = {
    "plain": {
        "lookback": 24, "horizon": 6, "patch_len": 8, "stride": 4, "d_model": 16, "n_layers": 2,
        "n_heads": 4, "d_ff": 24, "dropout": 0.1, "norm_eps": 1e-5,
    },
    "with steps left out": {
        "lookback": 29, "horizon": 1, "patch_len": 7, "stride": 5, "d_model": 12, "n_layers": 3,
        "n_heads": 1, "d_ff": 8, "dropout": 0.0, "norm_eps": 1e-3,
    },
}  # fmt: skip


def sizes(shape: str = "plain") -> dict[str, dict[str, Any]]:
    return {
        "model": SHAPES[shape],
        "data": {"val_fraction": 0.2, "test_fraction": 0.2, "season": 0},
        "train": TRAIN,
        "eval": {"batch_size": 7, "penalty": 1.0},
        "infer": {"digits": 6, "shown": 20, "dtype": "float32"},
    }
