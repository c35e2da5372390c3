"""Graph attention networks that label graphs (Brody et al., 2022, arXiv:2105.14491).

Every node takes a weighted sum of messages from its neighbours; how much each one counts depends on
both nodes and on the edge between them. In GATv2 a nonlinearity comes before the vector that scores
an edge, so each node can prefer other neighbours than the next one does. Blocks are those of
benchmarking-gnns (Dwivedi et al., 2023, arXiv:2003.00982): x + ELU(BatchNorm(attention(x))). The
sum over the nodes of a graph passes a small perceptron to the logits: unlike the mean, it tells
graphs of different sizes apart (Xu et al., 2019, arXiv:1810.00826).

A batch is one large graph whose parts are not connected. Shapes in comments: B graphs, N nodes of
all of them, E edges, H heads, D dimensions of a head.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from layers.graph_attention import GraphEncoder, Readout


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    node_features: int = 64  # numbers that describe a node
    edge_features: int = 16  # numbers that describe an edge; 0 for edges that are all alike
    num_classes: int = 2  # classes to tell apart
    num_nodes: int = 26  # nodes of a usual graph; any number passes
    num_edges: int = 55  # its edges, each direction counted
    d_model: int = 256  # width of a node's vector
    n_layers: int = 8  # blocks: a node sees nodes that are so many edges away
    n_heads: int = 8  # attention heads in each block; they divide d_model
    d_ff: int = 128  # width of the readout's first layer; the second has a quarter of d_model
    dynamic: bool = True  # attention of GATv2; false: that of GAT, which ranks alike for all nodes
    sum_readout: bool = True  # sum of a graph's nodes, as shares of num_nodes; false: their mean
    negative_slope: float = 0.2  # slope of LeakyReLU below 0, in the scores of edges
    dropout: float = 0.0  # share of a block's values that training drops
    norm_eps: float = 1e-05  # added to a variance before its root


class Model(GraphEncoder):
    """The network that labels graphs."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config = config
        self.readout = Readout(config, config.num_classes)

    def forward(
        self, nodes: Tensor, edges: Tensor, index: Tensor, graph: Tensor, sizes: Tensor
    ) -> Tensor:
        """Return the logits of each graph: (B, num_classes).

        Args:
            nodes: (N, node_features) features of the nodes of all graphs, one after the other.
            edges: (E, edge_features) features of their edges.
            index: (2, E) the nodes where each edge begins and ends, among all N.
            graph: (N,) the graph of each node, among the B.
            sizes: (B,) the number of nodes of each graph.
        """
        x = self.encode(nodes, edges, index)  # (N, d_model)
        sums = x.new_zeros(len(sizes), x.size(1)).index_add(0, graph, x)  # (B, d_model)
        if self.config.sum_readout:
            # A usual graph gives vectors as large as those of its nodes.
            whole = sums / self.config.num_nodes
        else:
            whole = sums / sizes.clamp_min(1).unsqueeze(1)
        logits: Tensor = self.readout(whole)
        return logits

    def checkpoint_config(self) -> dict[str, Any]:
        """Return what config.json needs beside `Config`."""
        return {"model_type": "gat"}
