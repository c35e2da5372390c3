"""Graph attention over the edges of a graph: GATv2, GAT, and blocks of either.

Blocks are those of benchmarking-gnns (Dwivedi et al., 2023, arXiv:2003.00982):
x + ELU(BatchNorm(attention(x))). Shapes in comments: N nodes, E edges, H heads, D dimensions of a
head.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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

    def __init__(self, config: Any) -> None:
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

    def __init__(self, config: Any) -> None:
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

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.attention = (DynamicAttention if config.dynamic else StaticAttention)(config)
        self.norm = nn.BatchNorm1d(config.d_model, eps=config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, edges: Tensor, index: Tensor) -> Tensor:
        """Map (N, d_model) to (N, d_model)."""
        out: Tensor = x + self.dropout(F.elu(self.norm(self.attention(x, edges, index))))
        return out


class GraphEncoder(nn.Module):
    """A linear layer on the features of nodes, and blocks of attention over the edges."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        assert config.d_model % config.n_heads == 0, "the heads share the width evenly"
        self.config = config
        self.encoder = nn.Linear(config.node_features, config.d_model)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layers))

    def encode(self, nodes: Tensor, edges: Tensor, index: Tensor) -> Tensor:
        """Return the vector of each node, (N, d_model).

        Args:
            nodes: (N, node_features) features of the nodes.
            edges: (E, edge_features) features of the edges.
            index: (2, E) the nodes where each edge begins and ends.
        """
        x: Tensor = self.encoder(nodes)  # (N, d_model)
        for layer in self.layers:
            x = layer(x, edges, index)
        return x

    def num_params(self) -> int:
        """Return the number of weights."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a parameter in a checkpoint: its own.

        transformers has no counterpart of the network.
        """
        return name


class Readout(nn.Module):
    """Three linear layers with rectifiers between them: d_model to d_ff, to d_model / 4, to some.

    The perceptron of benchmarking-gnns, with a first layer of any width.
    """

    def __init__(self, config: Any, outputs: int) -> None:
        super().__init__()
        last = max(1, config.d_model // 4)
        self.first = nn.Linear(config.d_model, config.d_ff)
        self.second = nn.Linear(config.d_ff, last)
        self.last = nn.Linear(last, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., d_model) to (..., outputs)."""
        out: Tensor = self.last(F.relu(self.second(F.relu(self.first(x)))))
        return out
