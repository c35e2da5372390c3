"""Residual MLPs over columns at a tiny size, for both kinds of target."""

from __future__ import annotations

from typing import Any

from helpers.family_code import TRAIN
from metagen.families.tabular_classifier import FAMILY as classifier
from metagen.families.tabular_regressor import FAMILY as regressor

FAMILIES = {"regression": regressor, "classification": classifier}
KINDS = {"regression": "number", "classification": "class"}
MODEL: dict[str, Any] = {
    "n_numeric": 6, "n_categorical": 3, "n_categories": 12, "n_outputs": 1, "n_frequencies": 2,
    "d_embedding": 3, "d_model": 8, "n_layers": 2, "d_ff": 12, "dropout": 0.1,
    "frequency_scale": 0.1, "norm_eps": 1e-5,
}  # fmt: skip


def sizes(task: str, **changed: Any) -> dict[str, dict[str, Any]]:
    outputs = {"n_outputs": 1 if task == "regression" else 3}
    return {
        "model": MODEL | outputs | changed,
        "data": {"target_kind": KINDS[task], "val_fraction": 0.2, "test_fraction": 0.2},
        "train": TRAIN | {"steps": 20, "batch_size": 16, "learning_rate": 0.01},
        "eval": {
            "batch_size": 50, "penalty": 1.0, "folds": 3, "repeats": 1, "most_rows": 500,
            "baseline_rows": 1000,
        },
        "infer": {"batch_size": 50, "digits": 4, "dtype": "float32"},
    }  # fmt: skip
