"""What the tasks within one graph share: labels of its nodes, and links between them.

The network reads the whole graph at once, as the first graph attention networks do
(arXiv:1710.10903, section 3.3), so a sample of training is a pass over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.tasks.schedule import Habits
from metagen.tasks.task import Dims, Lookup, Task, Value

CORA = "those of Cora in PyTorch Geometric: {} (arXiv:1603.08861)"
HABITS = Habits(
    batch=1,
    rate=5e-3,
    decay=5e-4,
    warmup=20,
    source="as PyTorch Geometric's example of GAT on Cora",
    why={"data": "the one graph that there is", "batch_size": "the whole graph in each update"},
    units=("graphs",),
    data=1,
    epochs=200,
    samples_at_once=1,
    at_once="1 graph",
)


class NetworkTask(Task):
    """From one graph, read whole, to what a task says of its nodes."""

    work_unit = "graph"
    units = ("graphs",)
    input = "graph"
    defaults: Mapping[str, Value] = {
        "node_features": 1433,
        "edge_features": 0,
        "num_nodes": 2708,
        "num_edges": 10556,
    }
    default_reasons: Mapping[str, str] = {
        "node_features": CORA.format("a column for each of 1,433 words"),
        "edge_features": "none is declared: edges that are all alike",
        "num_nodes": CORA.format("2,708 nodes"),
        "num_edges": CORA.format("10,556 edges, each direction counted"),
    }
    # Data decides how many features and classes a proxy has; these are the bundled graph's.
    proxy: Mapping[str, Value] = {
        "node_features": 1000,
        "edge_features": 0,
        "num_nodes": 687,
        "num_edges": 9370,
    }
    fixed_by: Mapping[str, str] = {
        "node_features": "task.node_features",
        "edge_features": "task.edge_features",
    }

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        return HABITS

    def proxy_habits(self, m: Dims) -> Habits:
        return Habits(1, 3e-3, 0.1, warmup=self.benchmark.steps["quick"] // 10, beta2=0.95)

    def graphs(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shapes of features of nodes and edges, and of edges, of some graphs."""
        nodes, edges = length * m["num_nodes"], length * m["num_edges"]
        return [
            {"shape": [nodes, m["node_features"]], "dtype": "float32"},
            {"shape": [edges, m["edge_features"]], "dtype": "float32"},
            {"shape": [2, edges], "dtype": "int64", "below": nodes},
        ]
