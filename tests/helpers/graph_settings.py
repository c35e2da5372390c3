"""The graph attention network at a tiny size, and graphs to train it on."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from helpers.family_code import TRAIN

MODEL: dict[str, Any] = {
    "node_features": 5,
    "edge_features": 3,
    "num_classes": 2,
    "num_nodes": 6,
    "num_edges": 12,
    "d_model": 8,
    "n_layers": 2,
    "n_heads": 2,
    "d_ff": 6,
    "dynamic": True,
    "sum_readout": True,
    "negative_slope": 0.2,
    "dropout": 0.0,
    "norm_eps": 1e-5,
}
TINY: dict[str, dict[str, Any]] = {
    "model": MODEL,
    "data": {"val_fraction": 0.2, "test_fraction": 0.2, "directed": False},
    "train": TRAIN,
    "eval": {"batch_size": 16, "baseline_graphs": 1000, "baseline_trees": 5},
    "infer": {"batch_size": 16, "digits": 4, "dtype": "float32"},
}
Graph = dict[str, Any]


def graphs(count: int = 60) -> list[Graph]:
    """Return rings and paths of coloured nodes, whose label says which they are."""
    draw, made = random.Random(0), []
    for number in range(count):
        size, ring = draw.randrange(3, 9), number % 2
        edges = [[each, each + 1] for each in range(size - 1)] + [[size - 1, 0]] * ring
        nodes = [[draw.choice(("red", "blue")), round(draw.random(), 3)] for _ in range(size)]
        kinds = [draw.choice(("thin", "thick")) for _ in edges]
        label = "ring" if ring else "path"
        made.append({"nodes": nodes, "edges": edges, "edge_attr": kinds, "label": label})
    return made


def write_graphs(path: Path, rows: list[Graph]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
