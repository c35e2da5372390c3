"""Graph attention networks that score links of a graph (arXiv:2105.14491)."""

from __future__ import annotations

from metagen.families.family import Dims, Peak, Value
from metagen.families.graph_attention import GraphAttention, wide_readout
from metagen.tasks.link_prediction import LinkPrediction


class LinkPredictor(GraphAttention):
    """Blocks of graph attention, and a readout of the product of two nodes' vectors."""

    name = "link_predictor"
    kind = "graph attention network for link prediction"
    task = LinkPrediction()
    components = f"{GraphAttention.components} decoder link_decoder hadamard_product"
    proxy_dims = {**GraphAttention.proxy_dims, "dropout": 0.5}

    def readout(self, m: Dims) -> tuple[Value, Value]:
        return 1, m["num_pairs"]

    def peaks(self, m: Dims) -> list[Peak]:
        d, pairs, nodes = (int(m[name]) for name in ("d_model", "num_pairs", "num_nodes"))
        product = Peak(d * (3 * pairs + nodes), f"{d:,} x (3 x {pairs:,} pairs + {nodes:,} nodes)")
        return [*super().peaks(m), product, wide_readout(m, m["num_pairs"], "pairs")]


FAMILY = LinkPredictor()
