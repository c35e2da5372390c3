"""Graph attention with edge features, GATv2, which families share (arXiv:2105.14491).

A family adds what its readout reads: the sum of a graph's nodes, each node, or pairs of nodes.
Symbols: d = d_model, L = n_layers, f = d_ff, N and E = num_nodes and num_edges of a usual graph,
F_n and F_e = features of a node and of an edge.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

from metagen.families import axes, parts
from metagen.families.axes import Axis
from metagen.families.demand import Need
from metagen.families.family import Dims, Family, Figures, Peak, Trait, Value, dim
from metagen.families.parts import Part
from metagen.families.trend import Line, Row, Trend, fit

BENCHMARKING = "as in the configurations of benchmarking-gnns (arXiv:2003.00982)"


class GraphAttention(Family):
    """Blocks of graph attention over the edges, and a readout."""

    table = "gat"
    components = (
        "gnn graph_neural_network gat gatv2 graph_attention message_passing node_encoder "
        "edge_encoder readout mlp"
    )
    traits = {
        "n_layers": dim("n_layers"),
        "d_model": dim("d_model"),
        "head_dim": Trait("d_model / n_heads", lambda m: m["d_model"] / m["n_heads"]),
        "expansion": Trait("ffn / d_model", lambda m: m["d_ff"] / m["d_model"], level=True),
    }
    rules = (axes.divides("n_heads", "d_model", "the heads share the width evenly"),)
    constants = {
        "dynamic": (True, "the attention of GATv2, which ranks neighbours for each node"),
        "negative_slope": (0.2, "as GAT and GATv2"),
        "dropout": (0.0, BENCHMARKING),
        "norm_eps": (1e-5, "the default of PyTorch"),
    }
    proxy_dims = {"d_model": 64, "n_layers": 3, "n_heads": 4, "d_ff": 32, "dropout": 0.1}

    def parts(self, m: Dims) -> list[Part]:
        """Return the encoder of nodes, the blocks with their norms, and the readout."""
        d, nodes = int(m["d_model"]), int(m["num_nodes"])
        return [
            parts.linear(m["node_features"], d, nodes),
            *(each * m["n_layers"] for each in block(m)),
            *self.head(m),
        ]

    def readout(self, m: Dims) -> tuple[Value, Value]:
        """Return the outputs of the readout, and how often a pass over a graph takes it."""
        raise NotImplementedError

    def head(self, m: Dims) -> list[Part]:
        """Return the readout: d to f, to d / 4, to the outputs."""
        outputs, places = self.readout(m)
        widths = (m["d_model"], m["d_ff"], quarter(m), outputs)
        return [parts.linear(a, b, places) for a, b in pairwise(widths)]

    def peaks(self, m: Dims) -> list[Peak]:
        """Return what scoring the edges holds: messages, edges, and their sums, beside nodes."""
        d, nodes, edges = (int(m[name]) for name in ("d_model", "num_nodes", "num_edges"))
        words = f"{d:,} x (4 x {edges:,} edges + 3 x {nodes:,} nodes)"
        return [Peak(d * (4 * edges + 3 * nodes), words)]

    def line(self, trait: Trait, table: list[Row], size: float) -> Line:
        if trait in (self.traits["n_layers"], self.traits["head_dim"]):
            # The depth says how many edges away a node sees, which no number of parameters changes;
            # and heads of published models follow their data more than their size.
            return fit([(size, trait.published(row)) for row in table], size)
        # Two of the published models have no readout.
        whole = trait is not self.traits["expansion"]
        return super().line(trait, [row for row in table if whole or row["ffn"]], size)

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        depth, size = (trend.lines[name].at(need.budget) for name in ("n_layers", "head_dim"))
        return (
            *self.usual(),
            Axis("n_layers", lambda m: axes.near(depth, 1), grid=True),
            Axis("d_model", lambda m: self._widths(m, need.budget), grid=True),
            Axis("n_heads", lambda m: (axes.divisor_near(m["d_model"], m["d_model"] / size),)),
            Axis("d_ff", lambda m: (self.fill(m, "d_ff", 1, need.budget),), fills=True),
        )

    def _widths(self, m: Dims, budget: int) -> range:
        """Return multiples of 4, or more, around the width of which the blocks fill the budget."""
        width = math.sqrt(budget / ((2 if m["dynamic"] else 1) * m["n_layers"]))
        step = max(4, axes.floor_power(width) // 16)

        def narrow(d: int) -> Dims:
            return {**m, "d_model": d, "n_heads": 1, "d_ff": 1}

        return self.within(budget, axes.near(width, step), narrow)

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        size = self.size(m)
        ratio, depth, heads = (
            trend.lines[name].at(size) for name in ("expansion", "n_layers", "head_dim")
        )
        points = trend.lines["n_layers"].points
        return {
            **super().reasons(m, need, trend),
            "n_layers": f"{points} published models have {depth:.1f} in the geometric mean, "
            "whatever their size",
            "d_ff": f"the most within the parameter count; {m['d_ff'] / m['d_model']:.2f} times "
            f"d_model, against {ratio:.2f} by the trend",
            "n_heads": f"heads of {m['d_model'] / m['n_heads']:g} dimensions; published models "
            f"have {heads:.0f} in the geometric mean",
        }

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        return (
            ("static attention as in GAT", "dynamic", False),
            ("no features of edges", "edge_features", 0),
            ("half the heads", "n_heads", axes.divisor_near(m["d_model"], m["n_heads"] / 2)),
            ("half the depth", "n_layers", max(1, m["n_layers"] // 2)),
        )

    def figures(self, m: Dims) -> Figures:
        return {
            "head_dim": (int(m["d_model"] // m["n_heads"]), ""),
            "last_width": (quarter(m), ""),
        }


def quarter(m: Dims) -> int:
    """Return the width of the readout's second layer: a quarter of d."""
    return max(1, int(m["d_model"]) // 4)


def wide_readout(m: Dims, places: Value, unit: str) -> Peak:
    """Return what the readout of several nodes or pairs holds: vectors, and its first layer."""
    d, f = int(m["d_model"]), int(m["d_ff"])
    return Peak(int(places) * (d + 2 * f), f"{places:,} {unit} x ({d:,} + 2 x {f:,})")


def block(m: Dims) -> list[Part]:
    """Return a block: 2dd + F_e d weights, a vector of scores, and a norm over the batch.

    GAT has one matrix, which source and target share, and a vector of scores for each of them and
    for the edge.
    """
    d, nodes, edges = (int(m[name]) for name in ("d_model", "num_nodes", "num_edges"))
    features = int(m["edge_features"])
    matrices, scores = (2, 1) if m["dynamic"] else (1, 3 if features else 2)
    return [
        Part(matrices * d * d, scores * d + 2 * d, nodes, state=2 * d),
        parts.linear(features, d, edges, bias=False),
    ]
