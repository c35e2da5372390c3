"""Two towers for recommendation: a user by its history, an item by its id and features.

Symbols: d = d_model, L = user_layers, f = d_ff, T = history_length; F_n and F_e are the features of
a user or item and of an interaction.
"""

from __future__ import annotations

from collections.abc import Iterable

from metagen.families import axes, parts
from metagen.families.axes import Axis
from metagen.families.blocks import block_peak
from metagen.families.demand import Need
from metagen.families.family import Dims, Family, Figures, Peak, Trait, Value, dim
from metagen.families.parts import HALF, Part
from metagen.families.trend import Line, Row, Trend, fit
from metagen.tasks.recommendation import Recommendation

LEAST_WIDTH = 2  # Narrower towers are not tried, however small the budget.
SASREC = "as SASRec (arXiv:1808.09781)"


class TwoTower(Family):
    """A table of items, a Transformer over a user's history, and a product of two vectors."""

    name = "two_tower"
    kind = "two-tower recommender"
    task = Recommendation()
    components = (
        "two_tower user_tower item_tower query_tower candidate_tower embedding item_embedding "
        "transformer transformer_encoder sasrec mlp dot_product scorer"
    )
    traits = {
        "user_layers": Trait("n_layers", lambda m: float(max(1, m["user_layers"]))),
        "d_model": dim("d_model"),
        "head_dim": Trait("d_model / n_heads", lambda m: m["d_model"] / m["n_heads"]),
        "expansion": Trait("ffn / d_model", lambda m: m["d_ff"] / m["d_model"], level=True),
        "num_items": dim("num_items", column="items"),
    }
    rules = (axes.divides("n_heads", "d_model", "the heads share the width evenly"),)
    constants = {
        "d_tower": (0, f"none: the item table and the last block are compared, {SASREC}"),
        "dropout": (0.2, f"{SASREC} on MovieLens-1M"),
        "norm_eps": (1e-8, f"{SASREC} in its authors' code"),
    }
    zeros = frozenset({"user_layers", "d_tower", "node_features", "edge_features"})
    embedding_modules = ("items", "positions")
    proxy_dims = {"d_model": 64, "user_layers": 1, "n_heads": 2, "d_ff": 64, "d_tower": 0}

    def parts(self, m: Dims) -> list[Part]:
        """Return the tables, the blocks over a history, the features, and the ends of towers."""
        d, length = m["d_model"], m["history_length"]
        ends = [parts.linear(d, m["d_tower"]), parts.linear(m["d_tower"], d)] * bool(m["d_tower"])
        return [
            parts.table(m["num_items"] + 1, d),
            parts.table(length * bool(m["ordered"]), d),
            parts.linear(m["edge_features"], d, length, bias=False),
            parts.encoder_block(d, m["d_ff"], length) * m["user_layers"],
            parts.norm(d),
            # A user and an item have features and ends of their own.
            *(each * 2 for each in (parts.linear(m["node_features"], d, bias=False), *ends)),
        ]

    def peaks(self, m: Dims) -> list[Peak]:
        """Return the inside of a block, and the vectors of a history before the first."""
        d, length = int(m["d_model"]), int(m["history_length"])
        before = Peak(3 * length * d, f"{length:,} items x 3 x {d:,}")
        return [block_peak(m, length, "items"), before] if m["user_layers"] else [before]

    def bytes_read(self, m: Dims) -> float:
        """Return the bytes of all weights but those rows of the item table that a pass lacks."""
        read = min(m["num_items"] + 1, m["history_length"] + 1)
        return float(HALF * (self.count(m) - (m["num_items"] + 1 - read) * m["d_model"]))

    def line(self, trait: Trait, table: list[Row], size: float) -> Line:
        # Published models follow their data in depth and in the width of feed-forward layers; a
        # slope through so few would make both run away beyond their sizes.
        if trait in (self.traits["user_layers"], self.traits["expansion"]):
            return fit([(size, trait.published(row)) for row in table], size)
        return super().line(trait, table, size)

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        depth, size = (trend.lines[name].at(need.budget) for name in ("user_layers", "head_dim"))
        width, ratio = (trend.lines[name].at(need.budget) for name in ("d_model", "expansion"))
        return (
            *self.usual(),
            Axis("user_layers", lambda m: axes.near(depth, 1), grid=True),
            Axis("d_model", lambda m: self._widths(m, width, need), grid=True),
            Axis("n_heads", lambda m: (axes.divisor_near(m["d_model"], m["d_model"] / size),)),
            *self._last(need, ratio),
        )

    def _last(self, need: Need, ratio: float) -> tuple[Axis, Axis]:
        """Return the items and the feed-forward layers; what is not pinned first fills.

        A catalogue that is pinned leaves the budget to the blocks.
        """
        pinned = "num_items" in need.pins
        items = Axis("num_items", lambda m: (self._filled(m, "num_items", need),), fills=not pinned)
        inner = Axis(
            "d_ff",
            lambda m: (
                self._filled(m, "d_ff", need) if pinned else max(1, round(ratio * m["d_model"])),
            ),
            fills=pinned,
        )
        return (items, inner) if pinned else (inner, items)

    def _filled(self, m: Dims, name: str, need: Need) -> int:
        return self.fill(m, name, 1, need.budget)

    def _widths(self, m: Dims, width: float, need: Need) -> range:
        """Return widths around the trend's, or below it where that exceeds the budget."""
        step = max(LEAST_WIDTH, axes.floor_power(width) // 16)

        def narrow(d: int) -> Dims:
            return {"num_items": 1, **need.pins, **m, "d_model": d, "n_heads": 1, "d_ff": d}

        return self.within(need.budget, axes.near(width, step), narrow, LEAST_WIDTH)

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        size, d = self.size(m), m["d_model"]
        heads, ratio = (trend.lines[name].at(size) for name in ("head_dim", "expansion"))
        held = (m["num_items"] + 1) * d / size
        trends = super().reasons(m, need, trend)
        items = f"the most within the parameter count, of which they are {held:.0%}"
        inner = f"{m['d_ff'] / d:.2f} times d_model; published models have {ratio:.2f} in the mean"
        if "num_items" in need.pins:
            inner = f"the most within the parameter count; {inner}"
        return {
            **trends,
            "num_items": f"{items}; {trends['num_items']}",
            "n_heads": f"heads of {d / m['n_heads']:g} dimensions; the trend gives {heads:.0f}",
            "d_ff": inner,
        }

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        return (
            ("a history without order", "ordered", False),
            ("no features of users and items", "node_features", 0),
            ("a hidden layer at the end of both towers", "d_tower", m["d_model"]),
            ("the mean of the history", "user_layers", 0),
        )

    def figures(self, m: Dims) -> Figures:
        """Return what the item table holds, and a head's dimensions."""
        table = int((m["num_items"] + 1) * m["d_model"])
        return {
            "table": (table, "parameters"),
            "table_share": (table / self.count(m), "share"),
            "head_dim": (int(m["d_model"] // m["n_heads"]), ""),
        }


FAMILY = TwoTower()
