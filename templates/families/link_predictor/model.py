"""Graph attention networks that score links (Brody et al., 2022, arXiv:2105.14491).

Every node takes a weighted sum of messages from its neighbours; how much each one counts depends on
both nodes and on the edge between them. Blocks are those of benchmarking-gnns (Dwivedi et al.,
2023, arXiv:2003.00982). The product of two nodes' vectors, number by number, passes a small
perceptron to the logit of a link between them, as in the models of the Open Graph Benchmark (Hu et
al., 2020, arXiv:2005.00687); so both orders of a pair have the same score.

Shapes in comments: N nodes, E edges, P pairs.
"""

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from layers.graph_attention import GraphEncoder, Readout


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    node_features: int = 1433  # numbers that describe a node
    edge_features: int = 0  # numbers that describe an edge; 0 for edges that are all alike
    num_nodes: int = 2708  # nodes of a usual graph; any number passes
    num_edges: int = 10556  # its edges, each direction counted
    num_pairs: int = 4096  # pairs of nodes that are scored in a usual pass; any number passes
    d_model: int = 256  # width of a node's vector
    n_layers: int = 8  # blocks: a node sees nodes that are so many edges away
    n_heads: int = 8  # attention heads in each block; they divide d_model
    d_ff: int = 128  # width of the readout's first layer; the second has a quarter of d_model
    dynamic: bool = True  # attention of GATv2; false: that of GAT, which ranks alike for all nodes
    negative_slope: float = 0.2  # slope of LeakyReLU below 0, in the scores of edges
    dropout: float = 0.0  # share of features and of a block's values that training drops
    norm_eps: float = 1e-05  # added to a variance before its root


class Model(GraphEncoder):
    """The network that scores links."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config = config
        self.readout = Readout(config, 1)

    def forward(self, nodes: Tensor, edges: Tensor, index: Tensor, pairs: Tensor) -> Tensor:
        """Return the logit of a link between each two nodes: (P,).

        Args:
            nodes: (N, node_features) features of the nodes.
            edges: (E, edge_features) features of the edges that pass messages.
            index: (2, E) the nodes where each of them begins and ends.
            pairs: (2, P) the two nodes of each link, in any order.
        """
        kept = F.dropout(nodes, self.config.dropout, self.training)
        return self.score(self.encode(kept, edges, index), pairs)

    def score(self, x: Tensor, pairs: Tensor) -> Tensor:
        """Return the logits (P,) of pairs of nodes (2, P) with these vectors (N, d_model)."""
        both = x.index_select(0, pairs[0]) * x.index_select(0, pairs[1])  # (P, d_model)
        logits: Tensor = self.readout(both).squeeze(1)
        return logits

    def checkpoint_config(self) -> dict[str, Any]:
        """Return what config.json needs beside `Config`."""
        return {"model_type": "gat_link_predictor"}
