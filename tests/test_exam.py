"""The exam: shapes of published models, searched from their budget, vocabulary and context alone.

None of these models is in the fit. They are the dense models with a paper or report, in the form
that the decoder family builds, whose dimensions stand in Lightning-AI/litgpt:litgpt/config.py.
`python tests/test_exam.py` writes the tables of docs/sizing.md anew.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from metagen import paths
from metagen.families.decoder import FAMILY as decoder
from metagen.families.demand import Need
from metagen.families.trend import fit, rows
from metagen.sizing import search
from metagen.sizing.need import FILL

HELD_OUT = Path(__file__).parent / "held_out_models.csv"
PAGE = Path(__file__).parent.parent / "docs" / "sizing.md"
PUBLISHED = paths.source("families/decoder.csv").read_bytes()
MODELS = list(csv.DictReader(HELD_OUT.read_text().splitlines()))
NAMES = {
    "d_model": "d_model", "n_layers": "n_layers", "n_heads": "n_heads", "n_kv_heads": "n_kv_heads",
    "head_dim": "head_dim", "d_ff": "ffn", "vocab_size": "vocab", "max_seq_len": "context",
}  # fmt: skip


def published(model):
    dims = {name: int(model[column]) for name, column in NAMES.items()}
    return {**dims, "tie_embeddings": model["tied_embeddings"] == "1"}


def design_of(model):
    dims = published(model)
    budget = decoder.count(dims)
    pins = {"vocab_size": dims["vocab_size"]}
    need = Need(budget, math.ceil(FILL * budget), (), dims["max_seq_len"], pins)
    return search.search(decoder, need, decoder.fit(PUBLISHED, budget))


def errors(name):
    return [design_of(model).dims[name] / published(model)[name] - 1 for model in MODELS]


def test_no_model_of_the_exam_is_in_the_fit():
    fitted = {row["model"] for row in rows(PUBLISHED)}
    shapes = {(r["d_model"], r["n_layers"], r["ffn"]) for r in rows(PUBLISHED)}
    assert len(MODELS) >= 20
    for model in MODELS:
        assert model["model"] not in fitted
        assert (model["d_model"], model["n_layers"], model["ffn"]) not in shapes


@pytest.mark.parametrize("name", ["n_layers", "d_model"])
def test_depth_and_width_come_near_those_of_published_models(name):
    sizes = sorted(map(abs, errors(name)))
    assert statistics.median(sizes) <= 0.15
    assert sizes[-1] <= 0.35 + 1e-9  # one is off by 35% exactly


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m["model"])
def test_the_count_is_within_one_percent_below_the_budget(model):
    budget = decoder.count(published(model))
    assert 0.99 * budget <= design_of(model).parameters <= budget


def exam() -> Iterator[str]:
    yield "| model | parameters | depth | search | width | search |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for model in MODELS:
        dims, ours = published(model), design_of(model).dims
        cells = [f"{dims[n]} | {_beside(ours[n], dims[n])}" for n in ("n_layers", "d_model")]
        yield f"| {model['model']} | {decoder.count(dims) / 1e9:.3g} B | {' | '.join(cells)} |"
    worst = {n: sorted(map(abs, errors(n))) for n in ("n_layers", "d_model")}
    median = [f"{statistics.median(w):.0%}, at most {w[-1]:.0%}" for w in worst.values()]
    yield f"| **median** | | | {median[0]} | | {median[1]} |"


def _beside(ours: float, theirs: float) -> str:
    return f"{ours} ({ours / theirs - 1:+.0%})"


def left_out(points: Iterable[tuple[float, float]]) -> list[float]:
    """Return by how much each value departs from the line of all others: 0.1 is 10% above it."""
    all_points = list(points)
    return [
        value / fit([p for p in all_points if p != (size, value)], size).at(size) - 1
        for size, value in all_points
    ]


def residuals() -> Iterator[str]:
    table = rows(PUBLISHED)
    sizes = [float(row[decoder.size_column]) for row in table]
    columns = [
        left_out(zip(sizes, (float(row[name]) for row in table), strict=True))
        for name in ("n_layers", "d_model")
    ]
    yield "| model | depth | from the others | width | from the others |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for row, depth, width in zip(table, *columns, strict=True):
        cells = f"{row['n_layers']} | {depth:+.0%} | {row['d_model']} | {width:+.0%}"
        yield f"| {row['model']} | {cells} |"
    medians = (statistics.median(map(abs, each)) for each in columns)
    yield "| **median** | | {:.0%} | | {:.0%} |".format(*medians)


def written(page: str) -> str:
    """Return the page with its two tables made anew, between their marks."""
    for mark, table in (("exam", exam), ("residuals", residuals)):
        before, rest = page.split(f"<!-- {mark} -->\n")
        after = rest.split(f"<!-- end of {mark} -->")[1]
        lines = "".join(f"{line}\n" for line in table())
        page = f"{before}<!-- {mark} -->\n{lines}<!-- end of {mark} -->{after}"
    return page


def test_the_tables_of_the_page_are_current():
    assert PAGE.read_text() == written(PAGE.read_text()), "run python tests/test_exam.py"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
