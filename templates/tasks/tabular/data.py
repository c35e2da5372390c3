"""Rows of a table with a column to predict: your own table, or one that comes with scikit-learn.

    python data.py --data table.csv                  shows what training will read
    python data.py --data table.csv --target price   where the target is not the last column

A table (.csv, .tsv or .parquet) has a row for each example. A column whose every value is a number
is numeric, any other is categorical; cells may be empty. Rows without a target are left out.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model import Config as ModelConfig
from runtime.columns import (
    Index,
    Parts,
    Rows,
    Table,
    inputs,
    parts_of,
    rows_of,
    scale_of,
    schema_of,
)
from runtime.digests import digest
from runtime.errors import fail, run
from runtime.options import data_options
from runtime.settings import load_config
from runtime.splits import SPLITS
from runtime.tables import is_numeric


@dataclass(frozen=True)
class Config:
    """What is predicted, and how rows are split, by a digest of their cells."""

    target_kind: str = "number"
    """number: a quantity, by regression; class: one of a few labels, by classification."""
    val_fraction: float = 0.1
    """Share of the rows on which training is watched."""
    test_fraction: float = 0.2
    """Share of the rows that only eval.py reads."""


Facts = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """What the two kinds of target do differently when a table is read.

    Attributes:
        bundled: Returns the table of the benchmark.
        checked: Returns rows with their targets in the form that this kind needs, or stops.
        facts: Returns what must be known of the target to read a prediction, from the table and
            the rows that train; the checkpoint keeps it.
        encoded: Returns the targets as the loss takes them, (rows,), by these facts.
        described: Yields lines on the target for a user.
    """

    bundled: Callable[[], Rows]
    checked: Callable[[Rows], Rows]
    facts: Callable[[Rows, Index, ModelConfig], Facts]
    encoded: Callable[[Rows, Facts], Tensor]
    described: Callable[[Rows, Facts], Iterator[str]]


def diabetes() -> Rows:
    """Return 442 patients with diabetes, and how their disease stood a year later.

    Efron et al., 2004, Least Angle Regression, Annals of Statistics 32(2).
    """
    try:
        from sklearn.datasets import load_diabetes  # type: ignore[import-untyped]
    except ImportError:
        fail("the bundled table comes with a library: pip install scikit-learn; or use --data.")
    found = load_diabetes(scaled=False)
    values, target = found.data.astype(np.float64), found.target.astype(np.float64)
    columns = dict(zip(found.feature_names, values.T, strict=True))
    total = digest(values.tobytes(), target.tobytes())
    return Rows("diabetes", total, columns, "progression", target)


def require_numbers(rows: Rows) -> Rows:
    """Return the rows as they are, or stop where the target is not numeric."""
    if not is_numeric(rows.values):
        fail(f"{rows.name}: column {rows.target!r} holds words, and a number is to be predicted.")
    return rows


def number_facts(rows: Rows, train: Index, model: ModelConfig) -> Facts:
    """Return the mean and the standard deviation of the training rows' targets."""
    mean, std = scale_of(rows.values[train])
    return {"mean": mean, "std": std}


def standardized(rows: Rows, facts: Facts) -> Tensor:
    """Return targets as deviations from their mean in standard deviations, float32."""
    # The network starts near 0 and learns at one rate, whatever unit the user's target has.
    return torch.from_numpy(((rows.values - facts["mean"]) / facts["std"]).astype(np.float32))


def number_lines(rows: Rows, facts: Facts) -> Iterator[str]:
    """Yield the mean."""
    yield f"to predict: {rows.target}, mean {facts['mean']:.4g}"


def tumours() -> Rows:
    """Return 569 tumours of the breast, measured under a microscope, benign or malignant.

    Wolberg, Street & Mangasarian, 1995, UCI Machine Learning Repository.
    """
    try:
        from sklearn.datasets import load_breast_cancer
    except ImportError:
        fail("the bundled table comes with a library: pip install scikit-learn; or use --data.")
    found = load_breast_cancer()
    values, target = found.data.astype(np.float64), found.target_names[found.target].astype(object)
    columns = dict(zip(map(str, found.feature_names), values.T, strict=True))
    total = digest(values.tobytes(), found.target.tobytes())
    return Rows("breast_cancer", total, columns, "diagnosis", target)


def as_labels(rows: Rows) -> Rows:
    """Return the rows with text as targets; classes that a table numbers are text such as "3"."""
    if not is_numeric(rows.values):
        return rows
    # 3 and 3.0 are one label, whatever form other rows gave the column.
    words = [str(int(value)) if value.is_integer() else str(value) for value in rows.values]
    return replace(rows, values=np.array(words, dtype=object))


def class_facts(rows: Rows, train: Index, model: ModelConfig) -> Facts:
    """Return the classes in alphabetical order, or stop where the model has no output for one."""
    # All rows count, not only those that train: a class without a training row is still a class.
    classes = sorted(set(map(str, rows.values)))
    if not 2 <= len(classes) <= model.n_outputs:
        fail(
            f"{rows.name} has {len(classes)} classes of {rows.target!r}, and the model takes 2 to "
            f"{model.n_outputs}: set task.num_classes in the spec."
        )
    return {"classes": classes}


def class_numbers(rows: Rows, facts: Facts) -> Tensor:
    """Return the place of each target among the classes, int64."""
    place = {each: number for number, each in enumerate(facts["classes"])}
    return torch.tensor([place[str(value)] for value in rows.values])


def class_lines(rows: Rows, facts: Facts) -> Iterator[str]:
    """Yield how many rows each class has."""
    yield f"to predict: {rows.target}"
    for name, number in Counter(map(str, rows.values)).most_common():
        yield f"  {name}: {number:,} rows"


# All that differs by the kind of target is in this table; the rest of the file knows of no kind.
KINDS = {
    "number": Kind(diabetes, require_numbers, number_facts, standardized, number_lines),
    "class": Kind(tumours, as_labels, class_facts, class_numbers, class_lines),
}


def load_rows(config: Config, path: Path | None, target: str | None) -> Rows:
    """Return the rows of a table, or the bundled ones, or stop where the target does not suit.

    Args:
        config: Says what kind of target is predicted.
        path: The table; None for the bundled one.
        target: The column to predict; None for the last one.
    """
    kind = KINDS[config.target_kind]
    return kind.checked(kind.bundled() if path is None else rows_of(path, target))


def encoded(config: Config, rows: Rows, parts: Parts, model: ModelConfig) -> Table:
    """Return rows as the network takes them, or stop where it has no room for them."""
    kind, train = KINDS[config.target_kind], parts["train"]
    facts = kind.facts(rows, train, model)
    schema = schema_of(rows, train, model, facts)
    tensors = (*inputs(schema, rows.columns, model), kind.encoded(rows, facts))
    return Table(rows.sha256, schema, tensors, parts)


def load_table(config: Config, path: Path | None, target: str | None, model: ModelConfig) -> Table:
    """Return the table that training reads."""
    rows = load_rows(config, path, target)
    # The split comes first: means, deviations and categories are learned from training rows alone.
    parts = parts_of(rows, config.val_fraction, config.test_fraction)
    return encoded(config, rows, parts, model)


def main() -> None:
    """Show a table."""
    parser = data_options(__doc__, data="a table (default: bundled)")
    parser.add_argument("--target", metavar="COLUMN", help="to predict (default: the last)")
    args = parser.parse_args()
    config = load_config(Config, "data", args.size)
    model = load_config(ModelConfig, "model", args.size)
    rows = load_rows(config, args.data, args.target)
    parts = parts_of(rows, config.val_fraction, config.test_fraction)
    schema = encoded(config, rows, parts, model).schema
    print(f"{rows.name}, sha256 {rows.sha256}")
    counts = ", ".join(f"{split} {len(parts[split]):,}" for split in SPLITS)
    print(f"{len(rows.values):,} rows: {counts}")
    for name, (mean, std) in schema.numeric.items():
        missing = int(np.isnan(rows.columns[name]).sum())
        print(f"  {name}: numeric, mean {mean:.4g}, deviation {std:.4g}, {missing:,} missing")
    for name, words in schema.categorical.items():
        missing = int((rows.columns[name] == "").sum())
        print(f"  {name}: {len(words):,} categories, {missing:,} missing")
    print(*KINDS[config.target_kind].described(rows, schema.target), sep="\n")


if __name__ == "__main__":
    run(main)
