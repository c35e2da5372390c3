"""The autoencoder at a tiny size."""

from __future__ import annotations

from typing import Any

from helpers.family_code import TRAIN

MODEL = {"window": 4, "n_channels": 3, "d_hidden": 13, "n_layers": 2, "d_latent": 2}
SIZES: dict[str, dict[str, Any]] = {
    "model": MODEL,
    "data": {"val_fraction": 0.2, "test_fraction": 0.3},
    "train": TRAIN | {"steps": 60, "batch_size": 32, "learning_rate": 0.02},
    "eval": {"batch_size": 17},
    "infer": {"batch_size": 3, "quantile": 0.9, "digits": 5, "dtype": "float32"},
}
