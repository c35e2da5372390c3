"""The blocks of graph attention as PyTorch Geometric's layers, with the weights of a network."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import GATConv, GATv2Conv


class Twin(nn.Module):
    """The encoder of a network by PyTorch Geometric's GATv2Conv or GATConv."""

    def __init__(self, other: Any) -> None:
        super().__init__()
        c = other.config
        self.other, self.convs = other, nn.ModuleList()
        options = {"heads": c.n_heads, "bias": False, "add_self_loops": False}
        options |= {"edge_dim": c.edge_features or None, "negative_slope": c.negative_slope}
        for block in other.layers:
            layer = (GATv2Conv if c.dynamic else GATConv)(
                c.d_model, c.d_model // c.n_heads, **options
            )
            self.convs.append(layer)
            attention = block.attention
            pairs = (
                {"lin_l": attention.source, "lin_r": getattr(attention, "target", None)}
                if c.dynamic
                else {"lin": attention.source}
            ) | ({"lin_edge": attention.edge} if c.edge_features else {})
            for name, linear in pairs.items():
                getattr(layer, name).weight = linear.weight
            names = ("att",) if c.dynamic else ("att_src", "att_dst", "att_edge")
            for name, score in zip(names, attention.score.split(1), strict=False):
                setattr(layer, name, nn.Parameter(score.detach().clone()))

    def encode(self, nodes: Tensor, edges: Tensor, index: Tensor) -> Tensor:
        """Return the vector of each node."""
        x: Tensor = self.other.encoder(nodes)
        for block, conv in zip(self.other.layers, self.convs, strict=True):
            features = edges if self.other.config.edge_features else None
            x = x + F.elu(block.norm(conv(x, index, features)))
        return x

    def readout(self, x: Tensor) -> Tensor:
        """Return the outputs of the perceptron."""
        out = self.other.readout
        outputs: Tensor = out.last(out.second(out.first(x).relu()).relu())
        return outputs


def assert_equal_gradients(model: Any, twin: Twin) -> None:
    """Check the gradients of a network against those of its twin, after both went backward."""
    theirs = dict(twin.other.named_parameters())
    for name, weight in model.named_parameters():
        if not name.endswith("score"):
            torch.testing.assert_close(weight.grad, theirs[name].grad, rtol=1e-4, atol=1e-5)
    for block, conv in zip(model.layers, twin.convs, strict=True):
        names = ("att",) if model.config.dynamic else ("att_src", "att_dst", "att_edge")
        theirs_of = [getattr(conv, name) for name in names if getattr(conv, name, None) is not None]
        grads = torch.cat([each.grad for each in theirs_of])
        torch.testing.assert_close(block.attention.score.grad, grads, rtol=1e-4, atol=1e-5)


def with_statistics(model: Any) -> Any:
    """Return a network whose normalizations have running statistics of some training."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model
