"""The two towers at a tiny size, and interactions to train them on."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

from helpers.family_code import TRAIN

MODEL: dict[str, Any] = {
    "num_items": 12,
    "history_length": 5,
    "node_features": 3,
    "edge_features": 2,
    "ordered": True,
    "d_model": 8,
    "user_layers": 2,
    "n_heads": 2,
    "d_ff": 6,
    "d_tower": 0,
    "dropout": 0.0,
    "norm_eps": 1e-8,
}
TINY: dict[str, dict[str, Any]] = {
    "model": MODEL,
    "data": {"holdout": "time", "val_fraction": 0.2, "test_fraction": 0.2},
    "train": TRAIN,
    "eval": {"batch_size": 16, "baseline_items": 1000},
    "infer": {"top": 3, "digits": 3, "dtype": "float32"},
}
HEAD = ("userId", "movie_id", "timestamp", "country", "genre", "device")
Row = tuple[Any, ...]


def clicks(users: int = 20, each: int = 8) -> list[Row]:
    """Return what users took, in the order of times: some are of one country, items of a genre."""
    draw, rows = random.Random(0), []
    for user in range(users):
        for item in draw.sample(range(12), each):
            genre, country = ("drama", "comedy")[item % 2], ("FR", "DE", "IT")[user % 3]
            device = draw.choice(("phone", "laptop"))
            rows.append((user, f"film {item}", draw.randrange(10**6), country, genre, device))
    return sorted(rows, key=lambda row: row[2])


def write_table(path: Path, rows: list[Row], head: tuple[str, ...] = HEAD) -> Path:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([head, *rows])
    return path
