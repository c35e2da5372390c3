"""Models of the nodes and the links of one graph at tiny sizes, and a graph to train them on."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from helpers.family_code import TRAIN
from helpers.graph_settings import MODEL

SHARED = {name: value for name, value in MODEL.items() if name != "sum_readout"}
NODES: dict[str, dict[str, Any]] = {
    "model": SHARED,
    "data": {"val_fraction": 0.2, "test_fraction": 0.2, "directed": False},
    "train": {**TRAIN, "batch_size": 2},
    "eval": {"baseline_nodes": 1000, "hops": 2, "spread": 0.9, "rounds": 20},
    "infer": {"digits": 4, "dtype": "float32"},
}
LINKS: dict[str, dict[str, Any]] = {
    "model": {**{n: v for n, v in SHARED.items() if n != "num_classes"}, "num_pairs": 8},
    "data": {"val_fraction": 0.1, "test_fraction": 0.2},
    "train": {**TRAIN, "batch_size": 2},
    "eval": {"batch_size": 64, "baseline_nodes": 1000, "rank": 4},
    "infer": {"batch_size": 64, "top": 5, "digits": 4, "dtype": "float32"},
}
Network = dict[str, Any]


def network(nodes: int = 80) -> Network:
    """Return two groups of nodes with links mostly within a group, as networkx writes it."""
    draw = random.Random(0)
    made = [
        {
            "id": f"n{number}",
            "label": ("even", "odd")[number % 2],
            "size": round(draw.gauss(number % 2, 1), 3),
            "colour": draw.choice(("red", "blue")),
        }
        for number in range(nodes)
    ]
    links = set()
    while len(links) < 4 * nodes:
        one, two = draw.randrange(nodes), draw.randrange(nodes)
        if one < two and (one % 2 == two % 2 or draw.random() < 0.2):
            links.add((one, two))
    edges = [
        {"source": f"n{one}", "target": f"n{two}", "kind": draw.choice(("thin", "thick"))}
        for one, two in sorted(links)
    ]
    return {"directed": False, "multigraph": False, "graph": {}, "nodes": made, "edges": edges}


def write_network(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path
