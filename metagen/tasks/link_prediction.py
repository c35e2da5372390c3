"""Link prediction: which two nodes of one graph have a link that is not known."""

from __future__ import annotations

from typing import Any

from metagen.tasks.networks import NetworkTask
from metagen.tasks.task import Benchmark, Dims, Lookup, Section

PAIRS = 4096


class LinkPrediction(NetworkTask):
    """From one graph and pairs of its nodes to the logit of a link between each two."""

    name = "link_prediction"
    metrics = ("roc_auc", "average_precision")
    benchmark = Benchmark(
        "imports between modules",
        {"quick": 100, "full": 400},
        ("sympy",),
        sheets=("sympy_modules",),
    )
    words = {
        "pipeline_tag": "graph-ml",
        "unit": "graph",
        "loss_unit": "nat/pair",
        "usage": "--input graph.json",
        "does": "prints the likeliest links that a graph lacks",
        "data": "the modules of sympy, which import each other, with words of their documentation",
        "outcome": "The share of true positives over that of false positives among the held-out "
        "links and hard pairs without one, of the proxy and of its baselines.",
        "risks": "other graphs than that of training, links that come later, nodes with few links, "
        "and calibration: in most graphs a link is rarer than in training",
    }
    defaults = {**NetworkTask.defaults, "num_pairs": PAIRS}
    default_reasons = {
        **NetworkTask.default_reasons,
        "num_pairs": "pairs that a training pass scores, and eval.py and infer.py at once",
    }
    proxy = {**NetworkTask.proxy, "num_edges": 7978, "num_pairs": 1024}

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"val_fraction": 0.05, "test_fraction": 0.1}

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"batch_size": PAIRS, "baseline_nodes": 5000, "rank": 32}

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"batch_size": PAIRS, "top": 20, "digits": 4, "dtype": "bfloat16"}

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shapes of `length` graphs of the usual size, joined to one, and of pairs."""
        nodes = length * m["num_nodes"]
        pairs = {"shape": [2, length * m["num_pairs"]], "dtype": "int64", "below": nodes}
        return [*self.graphs(m, length), pairs]
