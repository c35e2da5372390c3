"""Node classification: each node of one graph, such as a paper among papers, has a class."""

from __future__ import annotations

from typing import Any

from metagen.tasks.networks import NetworkTask
from metagen.tasks.task import Benchmark, Dims, Lookup, Section


class NodeClassification(NetworkTask):
    """From one graph to the logits of each node's class."""

    name = "node_classification"
    metrics = ("accuracy", "macro_f1")
    benchmark = Benchmark(
        "modules of a library", {"quick": 100, "full": 400}, ("sympy",), sheets=("sympy_modules",)
    )
    words = {
        "pipeline_tag": "graph-ml",
        "unit": "graph",
        "loss_unit": "nat/node",
        "usage": "--input graph.json",
        "does": "labels the nodes of a graph",
        "data": "the modules of sympy, which import each other, with words of their documentation",
        "outcome": "The proxy's confusion matrix for the test nodes: how many of a class it takes "
        "for another.",
        "risks": "other graphs than that of training, nodes that come later, classes whose nodes "
        "seldom link to each other, calibration, and rare classes",
    }
    defaults = {**NetworkTask.defaults, "num_classes": 2}
    default_reasons = {
        **NetworkTask.default_reasons,
        "num_classes": "no task.num_classes is declared: 2",
    }
    proxy = {**NetworkTask.proxy, "num_classes": 19}
    fixed_by = {**NetworkTask.fixed_by, "num_classes": "task.num_classes"}

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"val_fraction": 0.1, "test_fraction": 0.1, "directed": False}

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"baseline_nodes": 20_000, "hops": 2, "spread": 0.9, "rounds": 50}

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"digits": 4, "dtype": "bfloat16"}

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shapes of `length` graphs of the usual size, joined to one."""
        return self.graphs(m, length)
