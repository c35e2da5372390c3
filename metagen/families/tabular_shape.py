"""The shape of a residual MLP over columns: the trend of published ones, the space, the reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from metagen.families.family import Axis, Dims, Need, Rule, Value
from metagen.families.grid import floor_power, near
from metagen.families.tabular_load import blocks, count
from metagen.families.trend import Row, Trend, rows
from metagen.families.trend import fit as fit_line

COMPONENT_TYPES = frozenset(
    {
        "embedding",
        "feature_embedding",
        "numeric_embedding",
        "periodic_embedding",
        "mlp",
        "residual_mlp",
        "residual_block",
        "linear_head",
    }
)
DIMS: Mapping[str, type] = {
    "n_numeric": int,
    "n_categorical": int,
    "n_categories": int,
    "n_outputs": int,
    "n_frequencies": int,
    "d_embedding": int,
    "d_model": int,
    "n_layers": int,
    "d_ff": int,
    "dropout": float,
    "frequency_scale": float,
    "norm_eps": float,
}
RULES = (
    Rule(
        ("n_categories",),
        lambda m: m["n_categories"] > 0,
        "a row of the table of categories is for what is missing, so n_categories is at least 1",
    ),
)
# Room for columns, which a spec does not declare: most tables of the papers have fewer.
ROOM = {"n_numeric": 32, "n_categorical": 16, "n_categories": 512}
# The defaults of the authors' code for periodic embeddings, and of its ResNet.
EMBEDDING = {"n_frequencies": 48, "d_embedding": 24}
FREQUENCY_SCALE = 0.01
AUTHORS = "the default of the authors' code (arXiv:2203.05556)"
EMBEDDING_SHARE = 0.5  # of the budget, at most; else embeddings are halved, and halved again
HALVINGS = 4
DROPOUT = 0.15
NORM_EPS = 1e-5
FINE = 2  # widths inside blocks, which fill the budget, are multiples of it
SHAPE = ("n_layers", "d_model", "expansion")
PROXY: Mapping[str, Value] = {
    "n_numeric": 32,
    "n_categorical": 4,
    "n_categories": 64,
    "n_frequencies": 4,
    "d_embedding": 4,
    "d_model": 64,
    "n_layers": 1,
    "d_ff": 64,
    "dropout": 0.5,  # a few hundred rows are soon learned by heart
}


def fit(published: bytes, parameters: int) -> Trend:
    """Fit depth, width and expansion on the published networks for tables."""
    table = rows(published)
    lines = {
        name: fit_line(points(table, name), parameters, level=name == "expansion") for name in SHAPE
    }
    return Trend(lines, {})


def points(table: list[Row], name: str) -> list[tuple[float, float]]:
    """Return (weights of the blocks, a dimension or a ratio of two) of each row."""
    top, bottom = ("ffn", "d_model") if name == "expansion" else (name, "")
    return [
        (
            float(row["params_non_embedding"]),
            float(row[top]) / (float(row[bottom]) if bottom else 1),
        )
        for row in table
    ]


def cost(m: Dims, trend: Trend) -> float:
    """Return the summed squared deviation from the trend; 1 is one usual deviation."""
    named = zip(SHAPE, (m["n_layers"], m["d_model"], m["d_ff"] / m["d_model"]), strict=True)
    return sum(trend.lines[each].distance(blocks(m), value) for each, value in named)


def axes(need: Need, trend: Trend, outputs: int) -> tuple[Axis, ...]:
    """Return the search space; width and depth stay within reach of the trend.

    Args:
        need: What the dimensions must meet.
        trend: The published trend.
        outputs: What the network gives where no key says so.
    """
    size = need.budget
    depth, width = (trend.lines[each].at(size) for each in ("n_layers", "d_model"))
    step = max(8, floor_power(width) // 16)
    return (
        *(_one(name, value) for name, value in ROOM.items()),
        _one("n_outputs", outputs),
        Axis("n_frequencies", lambda m: (_embedding(m, size, width)["n_frequencies"],)),
        Axis("d_embedding", lambda m: (_embedding(m, size, width)["d_embedding"],)),
        _one("frequency_scale", FREQUENCY_SCALE),
        Axis("n_layers", lambda m: near(depth, 1), grid=True),
        Axis("d_model", lambda m: near(width, step), grid=True),
        Axis("d_ff", lambda m: (_inner(m, size),), fills=True),
        _one("dropout", DROPOUT),
        _one("norm_eps", NORM_EPS),
    )


def _embedding(m: Dims, parameters: int, width: float) -> dict[str, int]:
    """Return the authors' embedding, halved until it and its mixture leave room for the blocks."""
    halved = [
        {n: max(1, v >> times) for n, v in EMBEDDING.items()} for times in range(HALVINGS + 1)
    ]
    plain = {**m, "d_model": int(width), "n_layers": 0, "d_ff": 0}
    room = EMBEDDING_SHARE * parameters
    return next((each for each in halved if count({**plain, **each}) <= room), halved[-1])


def _one(name: str, value: Value) -> Axis:
    return Axis(name, lambda m: (value,))


def _inner(m: Dims, parameters: int) -> int:
    """Return the largest multiple of FINE that keeps the count within the budget."""
    room = parameters - count({**m, "d_ff": 0})
    return max(FINE, int(room / (m["n_layers"] * (2 * m["d_model"] + 1))) // FINE * FINE)


def reasons(m: Dims, trend: Trend, outputs: str) -> dict[str, str]:
    """Return why each dimension has its value, with the figures that decided it.

    Args:
        m: The dimensions.
        trend: The published trend.
        outputs: Why there are so many outputs.
    """
    expansion, room = trend.lines["expansion"].at(blocks(m)), "room for a table's columns"
    return {
        "n_numeric": f"{room}; a table may have fewer",
        "n_categorical": f"{room}; a table may have fewer",
        "n_categories": "of all categorical columns; the rest of a column's words are one category",
        "n_outputs": outputs,
        **{name: _embedding_reason(name, m[name]) for name in EMBEDDING},
        "frequency_scale": AUTHORS,
        "d_model": trend.lines["d_model"].said(blocks(m), "weights of the blocks"),
        "n_layers": trend.lines["n_layers"].said(blocks(m), "weights of the blocks"),
        "d_ff": f"the largest multiple of {FINE} within the parameter count; "
        f"{m['d_ff'] / m['d_model']:.2f} times d_model, against {expansion:.2f} by the trend",
        "dropout": "of the authors' ResNet (arXiv:2106.11959)",
        "norm_eps": "the default of PyTorch",
    }


def _embedding_reason(name: str, value: Value) -> str:
    if value == EMBEDDING[name]:
        return AUTHORS
    if value == max(1, EMBEDDING[name] >> HALVINGS):
        return f"{AUTHORS}, halved {HALVINGS} times, the most that is tried"
    return f"{AUTHORS}, halved until embeddings take at most {EMBEDDING_SHARE:.0%} of the budget"


def proxy(m: Dims, outputs: int) -> dict[str, Value]:
    """Return a model of about twenty thousand parameters with room for the bundled table."""
    return {**{each: m[each] for each in DIMS}, **PROXY, "n_outputs": outputs}


def variants(m: Dims) -> Iterable[tuple[str, dict[str, Value]]]:
    """Return single changes to embeddings and shape."""
    changes: tuple[tuple[str, str, Value], ...] = (
        ("no sines and cosines of numbers", "n_frequencies", 0),
        ("embeddings of half the width", "d_embedding", max(1, int(m["d_embedding"] // 2))),
        ("twice as wide inside a block", "d_ff", int(2 * m["d_ff"])),
        ("half the depth", "n_layers", max(1, int(m["n_layers"] // 2))),
        ("no dropout", "dropout", 0.0),
    )
    return [(label, {each: value}) for label, each, value in changes if m[each] != value]


def example(m: Dims, length: int) -> list[dict[str, object]]:
    """Return the shapes of some rows: numbers and categories."""
    return [
        {"shape": [length, m["n_numeric"]], "dtype": "float32"},
        {"shape": [length, m["n_categorical"]], "dtype": "int64"},
    ]
