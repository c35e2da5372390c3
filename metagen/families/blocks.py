"""What families of equal blocks share: their width, their depth and their feed-forward layers.

A design has `n_layers` blocks of width `d_model`, each with a feed-forward layer of width `d_ff`.
"""

from __future__ import annotations

from collections.abc import Mapping

from metagen.families.axes import Axis, granule, multiple
from metagen.families.demand import Need
from metagen.families.family import Dims, Family, Peak, Trait, Value, dim
from metagen.families.trend import Trend


class Blocks(Family):
    """A family of equal blocks; the width of the feed-forward layers fills the budget.

    The proxy keeps that width, relative to `d_model`, unless `proxy_dims` states it.
    """

    traits: Mapping[str, Trait] = {
        "n_layers": dim("n_layers"),
        "d_model": dim("d_model"),
        "expansion": Trait("ffn / d_model", lambda m: m["d_ff"] / m["d_model"], level=True),
    }

    def inner_step(self, m: Dims) -> int:
        """Return what `d_ff` is a multiple of."""
        return granule(m["d_model"])

    def inner_axis(self, budget: int) -> Axis:
        """Return the axis of `d_ff`, which fills the budget."""
        return Axis(
            "d_ff", lambda m: (self.fill(m, "d_ff", self.inner_step(m), budget),), fills=True
        )

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        usual = trend.lines["expansion"].at(self.size(m))
        inner = (
            f"the largest multiple of {self.inner_step(m)} within the parameter count; "
            f"{m['d_ff'] / m['d_model']:.2f} times d_model, against {usual:.2f} by the trend"
        )
        return {**super().reasons(m, need, trend), "d_ff": inner}

    def proxy(self, m: Dims) -> dict[str, Value]:
        small = super().proxy(m)
        if "d_ff" in self.proxy_dims:
            return small
        inner = m["d_ff"] / m["d_model"] * small["d_model"]
        return {**small, "d_ff": multiple(inner, self.inner_step(small))}


def block_peak(m: Dims, places: int, noun: str) -> Peak:
    """Return what the inside of a block of full attention holds, at each of its places.

    That is the residual stream, its normalized copy, and the wider of attention (queries, keys,
    values, result) and the feed-forward layer (before and after GELU).
    """
    d, f = int(m["d_model"]), int(m["d_ff"])
    words = f"{places:,} {noun} x (2 x {d:,} + the larger of 4 x {d:,} and 2 x {f:,})"
    return Peak(places * (2 * d + max(4 * d, 2 * f)), words)
