"""Graph attention networks that label graphs (Brody et al., 2022, arXiv:2105.14491)."""

from __future__ import annotations

from collections.abc import Iterable

from metagen.families.family import Dims, Value
from metagen.families.graph_attention import GraphAttention
from metagen.tasks.graph_classification import GraphClassification


class GAT(GraphAttention):
    """Blocks of graph attention, and a readout of the sum of a graph's nodes."""

    name = "gat"
    kind = "graph attention network for graph classification"
    task = GraphClassification()
    components = f"{GraphAttention.components} pooling classifier"
    constants = {
        **GraphAttention.constants,
        "sum_readout": (True, "a sum tells graphs of different sizes apart (arXiv:1810.00826)"),
    }

    def readout(self, m: Dims) -> tuple[Value, Value]:
        return m["num_classes"], 1

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        yield from super().changes(m)
        yield "mean of the nodes", "sum_readout", False


FAMILY = GAT()
