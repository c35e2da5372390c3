"""The residual MLP over embedded columns of a table (Gorishniy et al., 2021, arXiv:2106.11959)."""

from __future__ import annotations

from collections.abc import Iterable

from metagen.families import parts
from metagen.families.axes import Axis, Rule, floor_power, near
from metagen.families.blocks import Blocks
from metagen.families.demand import Need
from metagen.families.family import Dims, Figures, Peak, Value
from metagen.families.parts import Part
from metagen.families.trend import Trend

EMBEDDING = {"n_frequencies": 48, "d_embedding": 24}  # the defaults of the authors' code
AUTHORS = "the default of the authors' code (arXiv:2203.05556)"
# Embeddings that take more than half of the budget are halved, and halved again.
EMBEDDING_SHARE = 0.5
HALVINGS = 4


class TabularMLP(Blocks):
    """Embeddings of columns side by side, their mixture, residual blocks, and a linear layer."""

    folder = "tabular_mlp"
    table = "tabular_mlp"
    components = (
        "embedding feature_embedding numeric_embedding periodic_embedding mlp residual_mlp "
        "residual_block linear_head"
    )
    embedding_modules = ("numeric", "categories")
    # Published models differ in their columns, and so in their embeddings.
    size_column = "params_non_embedding"
    size_unit = "weights of the blocks"
    rules = (
        Rule(
            ("n_categories",),
            lambda m: m["n_categories"] > 0,
            "a row of the table of categories is for what is missing, so n_categories is at least "
            "1",
        ),
    )
    constants = {
        "frequency_scale": (0.01, AUTHORS),
        "dropout": (0.15, "as in the authors' ResNet (arXiv:2106.11959)"),
        "norm_eps": (1e-5, "the default of PyTorch"),
    }
    proxy_dims = {
        "n_frequencies": 4,
        "d_embedding": 4,
        "d_model": 64,
        "n_layers": 1,
        "d_ff": 64,
        # Without much dropout a network memorizes a few hundred rows.
        "dropout": 0.5,
    }

    def parts(self, m: Dims) -> list[Part]:
        """Return the embeddings, their mixture, the blocks with their norms, and the head."""
        d, f = int(m["d_model"]), int(m["d_ff"])
        block = Part(2 * d * f, 3 * d + f)  # The biases and the norm take 3d + f.
        return [
            *embeddings(m),
            parts.linear((m["n_numeric"] + m["n_categorical"]) * m["d_embedding"], d),
            block * m["n_layers"],
            parts.linear(d, m["n_outputs"]),
        ]

    def size(self, m: Dims) -> int:
        """Return the weights of the blocks' linear layers: 2Ldf."""
        return int(2 * m["n_layers"] * m["d_model"] * m["d_ff"])

    def inner_step(self, m: Dims) -> int:
        return 2

    def peaks(self, m: Dims) -> list[Peak]:
        """Return the numbers of one row where it is embedded, and inside a block.

        Sines and cosines are made in float32, twice as wide as bf16: first apart, then in a row.
        """
        columns, waves = m["n_numeric"] + m["n_categorical"], 2 * m["n_frequencies"] + 1
        embedded = int(2 * (m["n_numeric"] * 2 * waves) + columns * m["d_embedding"])
        block = int(2 * m["d_model"] + 2 * m["d_ff"])
        return [
            Peak(embedded, f"the embedding's {embedded:,} numbers"),
            Peak(block, f"a block's {block:,}"),
        ]

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        budget = need.budget
        depth, width = (trend.lines[name].at(budget) for name in ("n_layers", "d_model"))
        step = max(8, floor_power(width) // 16)

        def embedding(name: str) -> Axis:
            return Axis(name, lambda m: (self._embedding(m, budget, width)[name],))

        return (
            *self.usual(),
            *map(embedding, EMBEDDING),
            Axis("n_layers", lambda m: near(depth, 1), grid=True),
            Axis("d_model", lambda m: near(width, step), grid=True),
            self.inner_axis(budget),
        )

    def _embedding(self, m: Dims, budget: int, width: float) -> dict[str, int]:
        """Return the authors' embedding, halved until it and its mixture leave room for blocks."""
        halved = [
            {name: max(1, value >> times) for name, value in EMBEDDING.items()}
            for times in range(HALVINGS + 1)
        ]
        rest = {**m, "d_model": int(width), "n_layers": 0, "d_ff": 0}
        room = EMBEDDING_SHARE * budget
        return next((each for each in halved if self.count({**rest, **each}) <= room), halved[-1])

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        embedding = {name: embedding_reason(name, m[name]) for name in EMBEDDING}
        return {**super().reasons(m, need, trend), **embedding}

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        return (
            ("no sines and cosines of numbers", "n_frequencies", 0),
            ("embeddings of half the width", "d_embedding", max(1, m["d_embedding"] // 2)),
            ("twice as wide inside a block", "d_ff", 2 * m["d_ff"]),
            ("half the depth", "n_layers", max(1, m["n_layers"] // 2)),
            ("no dropout", "dropout", 0.0),
        )

    def figures(self, m: Dims) -> Figures:
        return {"embedding_parameters": (parts.count(embeddings(m)), "parameters")}


def embeddings(m: Dims) -> list[Part]:
    """Return the embedding of numbers and the table of categories.

    A number is embedded as W [x, sin(2 pi c x), cos(2 pi c x)] + b, with frequencies c of its own.
    """
    n, k, e = int(m["n_numeric"]), int(m["n_frequencies"]), int(m["d_embedding"])
    return [Part(n * (2 * k + 1) * e, n * k + n * e), parts.table(m["n_categories"], e)]


def embedding_reason(name: str, value: Value) -> str:
    """Return why embeddings have their size."""
    if value == EMBEDDING[name]:
        return AUTHORS
    if value == max(1, EMBEDDING[name] >> HALVINGS):
        return f"{AUTHORS}, halved {HALVINGS} times, the most that is tried"
    return f"{AUTHORS}, halved until embeddings take at most {EMBEDDING_SHARE:.0%} of the budget"
