"""The deep autoencoder of windows of a series (Hinton & Salakhutdinov, 2006, Science 313:504)."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from itertools import pairwise

from metagen.families import parts
from metagen.families.axes import Axis, Rule, near
from metagen.families.demand import Need
from metagen.families.family import Dims, Family, Figures, Peak, Trait, Value
from metagen.families.parts import Part
from metagen.families.trend import Trend
from metagen.tasks.anomaly_detection import AnomalyDetection

# First layers that halve evenly are preferred unless they leave more than 1% of the budget unused.
UNUSED = 0.01
LEAST_CODE = 1 / 32  # A code has at least this share of the first layer's width.


class Autoencoder(Family):
    """Layers that halve in width, a narrow code, and the mirror image of the layers."""

    name = "autoencoder"
    kind = "deep autoencoder for anomaly detection"
    task = AnomalyDetection()
    components = "autoencoder encoder decoder mlp bottleneck latent"
    traits = {
        "n_layers": Trait("n_layers", lambda m: float(m["n_layers"]), level=True),
        "code": Trait("ffn / d_model", lambda m: m["d_latent"] / m["d_hidden"], level=True),
    }
    rules = (
        Rule(
            ("d_hidden", "n_layers"),
            lambda m: m["d_hidden"] >= 2 ** (m["n_layers"] - 1),
            "each layer has half the width of the one before, so d_hidden must be "
            "2**(n_layers - 1) or more",
        ),
        Rule(
            ("window", "n_channels", "d_latent"),
            lambda m: m["d_latent"] < m["window"] * m["n_channels"],
            "a code that is as wide as a window could copy it, so d_latent must be below window * "
            "n_channels",
        ),
    )
    proxy_dims = {"d_hidden": 64, "n_layers": 2, "d_latent": 4}

    def parts(self, m: Dims) -> list[Part]:
        """Return the layers from the input to the code, each with its mirror image."""
        pairs = list(pairwise(widths(m)))
        return [parts.linear(a, b) for a, b in pairs] + [parts.linear(b, a) for a, b in pairs]

    def peaks(self, m: Dims) -> list[Peak]:
        """Return a window's input and output with the two widest layers between them."""
        first, second, *_ = widths(m)
        words = f"2 x {first:,} numbers, and 2 x {second:,} of a layer"
        return [Peak(2 * first + 2 * second, words)]

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        budget = need.budget
        depth = trend.lines["n_layers"].at(budget)
        return (
            *self.usual(),
            Axis("n_layers", lambda m: near(depth, 1), grid=True),
            Axis("d_hidden", lambda m: (self._first({**m, **need.pins}, budget),), fills=True),
            Axis("d_latent", lambda m: (self._code(m, trend, budget),)),
        )

    def _first(self, m: Dims, budget: int) -> int:
        """Return the widest first layer that leaves room for a code within the budget."""
        step = layer_step(m, budget)

        def count(steps: int) -> int:
            width = steps * step
            code = max(1, min(round(LEAST_CODE * width), numbers(m) - 1))
            return self.count({"d_latent": code, **m, "d_hidden": width})

        steps = bisect.bisect_right(range(budget // step + 1), budget, key=count) - 1
        return max(halvings(m), steps * step)

    def _code(self, m: Dims, trend: Trend, budget: int) -> int:
        """Return the trend's code, at most the last layer's width and what the budget leaves."""
        published = int(trend.lines["code"].at(budget) * m["d_hidden"])
        last = int(m["d_hidden"]) // halvings(m)
        room = (budget - self.count({**m, "d_latent": 0})) // (2 * last + 1)
        return max(1, min(published, last, room, numbers(m) - 1))

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        code, last = trend.lines["code"], widths(m)[-2]
        return {
            **super().reasons(m, need, trend),
            "d_hidden": f"the widest multiple of {layer_step(m, need.budget)} within the "
            f"parameter count, with room for a code; the last layer before the code has {last}",
            "d_latent": f"{m['d_latent'] / m['d_hidden']:.3f} of the first layer; "
            f"{code.points} published models give {code.at(self.count(m)):.3f}",
        }

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        return (
            ("a code of half the width", "d_latent", max(1, m["d_latent"] // 2)),
            ("a code of twice the width", "d_latent", 2 * m["d_latent"]),
            ("windows of half the length", "window", max(1, m["window"] // 2)),
            ("one layer before the code", "n_layers", 1),
        )

    def figures(self, m: Dims) -> Figures:
        first, *rest = widths(m)
        return {
            "inputs": (first, "numbers"),
            "widths": (", ".join(f"{width:,}" for width in rest), ""),
            "compression": (first / int(m["d_latent"]), ""),
        }


def numbers(m: Dims) -> int:
    """Return the numbers of a window; a code of as many could copy it."""
    return int(m["window"] * m["n_channels"])


def halvings(m: Dims) -> int:
    """Return by what the first layer's width is divided at the last layer: 2^(n_layers - 1)."""
    return int(2 ** (m["n_layers"] - 1))


def widths(m: Dims) -> list[int]:
    """Return the widths from the input to the code; each layer has half of the one before."""
    hidden = [int(m["d_hidden"]) // 2**layer for layer in range(int(m["n_layers"]))]
    return [numbers(m), *hidden, int(m["d_latent"])]


def layer_step(m: Dims, budget: int) -> int:
    """Return what the first layer is a multiple of: what halves evenly, or 1 to fill a budget."""
    even = halvings(m)
    return even if 2 * even * numbers(m) < UNUSED * budget else 1


FAMILY = Autoencoder()
