"""Graph attention networks that label the nodes of a graph (arXiv:2105.14491)."""

from __future__ import annotations

from metagen.families.family import Dims, Peak, Value
from metagen.families.graph_attention import GraphAttention, wide_readout
from metagen.tasks.node_classification import NodeClassification


class NodeClassifier(GraphAttention):
    """Blocks of graph attention, and a readout of each node."""

    name = "node_classifier"
    kind = "graph attention network for node classification"
    task = NodeClassification()
    components = f"{GraphAttention.components} classifier"
    constants = {
        **GraphAttention.constants,
        "dropout": (0.6, "as the first graph attention networks on Cora (arXiv:1710.10903)"),
    }
    proxy_dims = {**GraphAttention.proxy_dims, "dropout": 0.5}

    def readout(self, m: Dims) -> tuple[Value, Value]:
        return m["num_classes"], m["num_nodes"]

    def peaks(self, m: Dims) -> list[Peak]:
        return [*super().peaks(m), wide_readout(m, m["num_nodes"], "nodes")]


FAMILY = NodeClassifier()
