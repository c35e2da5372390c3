"""PointNet, which labels clouds of points (Qi et al., 2017, arXiv:1612.00593).

Symbols: w = width, h = d_head, P = n_points. Layers have w, 2w and 16w features of a point, and
h and 4w of a cloud; the networks that predict a matrix have 8w and 4w.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

from metagen.families import axes, parts
from metagen.families.axes import Axis
from metagen.families.demand import Need
from metagen.families.family import Dims, Family, Figures, Peak, Trait, Value
from metagen.families.parts import Part
from metagen.families.trend import Trend
from metagen.tasks.point_cloud_classification import PointCloudClassification

PAPER = "as in the paper (arXiv:1612.00593, section 4.2)"
GLOBAL = 16  # times the width are known of a cloud


class PointNet(Family):
    """A perceptron on each point, the largest of each output, and a perceptron on these."""

    name = "pointnet"
    kind = "PointNet for point cloud classification"
    task = PointCloudClassification()
    components = (
        "pointnet mlp shared_mlp point_encoder max_pooling pooling tnet input_transform "
        "feature_transform classifier"
    )
    traits = {
        "head": Trait("ffn / d_model", lambda m: m["d_head"] / (GLOBAL * m["width"]), level=True)
    }
    constants = {
        "input_transform": (True, PAPER),
        "feature_transform": (True, PAPER),
        "dropout": (0.3, "the paper keeps a share of 0.7 (arXiv:1612.00593, section C)"),
        "norm_eps": (1e-5, "the default of PyTorch"),
    }
    proxy_dims = {
        "width": 16,
        "d_head": 128,
        "input_transform": False,
        "feature_transform": False,
    }

    def parts(self, m: Dims) -> list[Part]:
        """Return the predicted matrices, the layers on points, and those on the cloud."""
        w, points = int(m["width"]), int(m["n_points"])
        matrices: list[Part] = []
        if m["input_transform"]:
            matrices += transform(3, w, points)
        if m["feature_transform"]:
            matrices += transform(w, w, points)
        return [
            *matrices,
            *shared((3, w, w, w, 2 * w, GLOBAL * w), points),
            *shared((GLOBAL * w, m["d_head"], 4 * w)),
            parts.linear(4 * w, m["num_classes"]),
        ]

    def peaks(self, m: Dims) -> list[Peak]:
        """Return the widest layer on points: its sums, normalized and rectified, and its input."""
        w, points = int(m["width"]), int(m["n_points"])
        wide, given = 3 * GLOBAL * w, 2 * w
        return [Peak(points * (wide + given), f"{points:,} points x ({wide:,} + {given:,})")]

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        return (
            *self.usual(),
            Axis("width", lambda m: self._widths(m, need.budget), grid=True),
            Axis("d_head", lambda m: (self.fill(m, "d_head", 1, need.budget),), fills=True),
        )

    def _widths(self, m: Dims, budget: int) -> range:
        """Return widths around the one at which the paper's proportions take the budget."""

        def design(width: int) -> Dims:
            return {**m, "width": width, "d_head": 1}

        one = self.count({**m, "width": 64, "d_head": 8 * 64})
        width = 64 * math.sqrt(budget / one)
        step = max(1, axes.floor_power(width) // 32)
        return self.within(budget, axes.near(width, step), design)

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        return {
            **super().reasons(m, need, trend),
            "width": "the paper's proportions, at the size of the parameter count; "
            "published models have 64 at any size",
            "d_head": f"the most within the parameter count; {m['d_head'] / m['width']:.1f} times "
            "the width, against 8 in the paper",
        }

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        return (
            ("no matrix on the input", "input_transform", False),
            ("no matrix on the features", "feature_transform", False),
            ("a matrix on the input", "input_transform", True),
            ("a matrix on the features", "feature_transform", True),
            ("half the width", "width", max(1, m["width"] // 2)),
            ("half the points", "n_points", max(1, m["n_points"] // 2)),
        )

    def figures(self, m: Dims) -> Figures:
        return {
            "global_width": (int(GLOBAL * m["width"]), ""),
            "middle_width": (int(2 * m["width"]), ""),
            "last_width": (int(4 * m["width"]), ""),
        }


def shared(widths: Iterable[Value], places: int = 1) -> list[Part]:
    """Return linear layers, each with a normalization: io weights, 3o others, 2o statistics."""
    return [Part(int(a * b), int(3 * b), places, state=int(2 * b)) for a, b in pairwise([*widths])]


def transform(size: int, w: int, points: int) -> list[Part]:
    """Return the network that predicts a matrix of a size, and the product with it."""
    return [
        *shared((size, w, 2 * w, GLOBAL * w), points),
        *shared((GLOBAL * w, 8 * w, 4 * w)),
        parts.linear(4 * w, size * size),
        Part(pairs=2 * points * size * size),
    ]


FAMILY = PointNet()
