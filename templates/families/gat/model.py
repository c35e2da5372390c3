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

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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


def softmax_of_each(scores: Tensor, target: Tensor, nodes: int) -> Tensor:
    """Return the softmax of edges' scores (E, H) among the edges that lead to the same node."""
    places = target.unsqueeze(1).expand_as(scores)  # (E, H)
    # The largest score of a node is subtracted, so that no exponential overflows.
    lowest = scores.new_full((nodes, scores.size(1)), float("-inf"))
    largest = lowest.scatter_reduce(0, places, scores.detach(), "amax")  # (nodes, H)
    powers = (scores - largest.index_select(0, target)).exp()
    sums = torch.zeros_like(largest).index_add(0, target, powers)  # (nodes, H)
    return powers / sums.index_select(0, target)


class DynamicAttention(nn.Module):
    """The attention of GATv2 with edge features (arXiv:2105.14491, equation 7)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.d_model
        self.heads = (config.n_heads, width // config.n_heads)
        self.slope = config.negative_slope
        self.source = nn.Linear(width, width, bias=False)
        self.target = nn.Linear(width, width, bias=False)
        self.edge = (
            nn.Linear(config.edge_features, width, bias=False) if config.edge_features else None
        )
        self.score = nn.Parameter(torch.empty(1, *self.heads))
        nn.init.xavier_uniform_(self.score)

    def forward(self, x: Tensor, edges: Tensor, index: Tensor) -> Tensor:
        """Return sum over edges j -> i of a_ij W_s x_j, for every node i: (N, d_model).

        a_ij is the softmax over j of v . LeakyReLU(W_s x_j + W_t x_i + W_e e_ij), in each head.
        """
        source, target = index
        messages = self.source(x).index_select(0, source)  # (E, d_model)
        mixed = messages + self.target(x).index_select(0, target)  # (E, d_model)
        if self.edge is not None:
            mixed = mixed + self.edge(edges)
        mixed = F.leaky_relu(mixed, self.slope).view(-1, *self.heads)  # (E, H, D)
        scores = (mixed * self.score).sum(2)  # (E, H)
        return gathered(messages, scores, target, len(x))


class StaticAttention(nn.Module):
    """The attention of GAT with edge features (Velickovic et al., 2018, arXiv:1710.10903).

    The nonlinearity comes last, so which neighbours score high does not depend on the node.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.d_model
        self.heads = (config.n_heads, width // config.n_heads)
        self.slope = config.negative_slope
        self.source = nn.Linear(width, width, bias=False)
        self.edge = (
            nn.Linear(config.edge_features, width, bias=False) if config.edge_features else None
        )
        self.score = nn.Parameter(torch.empty(3 if config.edge_features else 2, *self.heads))
        nn.init.xavier_uniform_(self.score)

    def forward(self, x: Tensor, edges: Tensor, index: Tensor) -> Tensor:
        """Return sum over edges j -> i of a_ij W x_j, for every node i: (N, d_model).

        a_ij is the softmax over j of LeakyReLU(v_1 . W x_j + v_2 . W x_i + v_3 . W_e e_ij).
        """
        source, target = index
        nodes = self.source(x).view(-1, *self.heads)  # (N, H, D)
        scores = (nodes * self.score[0]).sum(2).index_select(0, source)  # (E, H)
        scores = scores + (nodes * self.score[1]).sum(2).index_select(0, target)
        if self.edge is not None:
            scores = scores + (self.edge(edges).view(-1, *self.heads) * self.score[2]).sum(2)
        messages = nodes.flatten(1).index_select(0, source)  # (E, d_model)
        return gathered(messages, F.leaky_relu(scores, self.slope), target, len(x))


def gathered(messages: Tensor, scores: Tensor, target: Tensor, nodes: int) -> Tensor:
    """Return each node's sum of the messages (E, d_model) that lead to it, by their scores (E, H).

    A node that no edge leads to has the sum 0.
    """
    # A bfloat16 sum over many edges would lose the small shares.
    shares = softmax_of_each(scores.float(), target, nodes).to(messages.dtype)  # (E, H)
    heads = shares.size(1)
    values = messages.view(-1, heads, messages.size(1) // heads)  # (E, H, D)
    weighted = values * shares.unsqueeze(2)
    sums = messages.new_zeros(nodes, messages.size(1))
    return sums.index_add(0, target, weighted.flatten(1))


class Block(nn.Module):
    """x + ELU(BatchNorm(attention(x))); the statistics are of all nodes of a batch."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention = (DynamicAttention if config.dynamic else StaticAttention)(config)
        self.norm = nn.BatchNorm1d(config.d_model, eps=config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, edges: Tensor, index: Tensor) -> Tensor:
        """Map (N, d_model) to (N, d_model)."""
        out: Tensor = x + self.dropout(F.elu(self.norm(self.attention(x, edges, index))))
        return out


class Model(nn.Module):
    """The network; its tensors keep their own names, since transformers has no counterpart."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        assert config.d_model % config.n_heads == 0, "the heads share the width evenly"
        self.config = config
        self.encoder = nn.Linear(config.node_features, config.d_model)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        last = max(1, config.d_model // 4)
        self.readout1 = nn.Linear(config.d_model, config.d_ff)
        self.readout2 = nn.Linear(config.d_ff, last)
        self.classifier = nn.Linear(last, config.num_classes)

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
        x = self.encoder(nodes)  # (N, d_model)
        for layer in self.layers:
            x = layer(x, edges, index)
        sums = x.new_zeros(len(sizes), x.size(1)).index_add(0, graph, x)  # (B, d_model)
        if self.config.sum_readout:
            # A usual graph gives vectors as large as those of its nodes.
            whole = sums / self.config.num_nodes
        else:
            whole = sums / sizes.clamp_min(1).unsqueeze(1)
        hidden = F.relu(self.readout2(F.relu(self.readout1(whole))))
        logits: Tensor = self.classifier(hidden)
        return logits

    def num_params(self) -> int:
        """Return the number of weights."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a parameter in a checkpoint: its own."""
        return name

    def checkpoint_config(self) -> dict[str, Any]:
        """Return what config.json needs beside `Config`."""
        return {"model_type": "gat"}
