"""Rows of a table with a class to predict: your own table, or one that comes with scikit-learn.

    python data.py --data table.csv                  shows what training will read
    python data.py --data table.csv --target kind    where the target is not the last column

A table (.csv, .tsv or .parquet) has a row for each example. A column whose every value is a number
is numeric, any other categorical; cells may be empty. Rows without a target are left out.
"""

import argparse
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from model import Config as ModelConfig
from runtime.columns import SPLITS, Parts, Rows, Table, inputs, parts_of, rows_of, schema_of
from runtime.errors import fail, run
from runtime.options import existing
from runtime.report import digest
from runtime.settings import load_config
from runtime.tables import is_numeric


@dataclass(frozen=True)
class Config:
    """How rows are split, by a digest of what they hold."""

    val_fraction: float = 0.1
    """Share of the rows on which training is watched."""
    test_fraction: float = 0.2
    """Share of the rows that only eval.py reads."""


def load_rows(path: Path | None, target: str | None) -> Rows:
    """Return the rows of a table, or the bundled ones."""
    rows = bundled() if path is None else rows_of(path, target)
    if not is_numeric(rows.values):
        return rows
    words = [str(int(value)) if value.is_integer() else str(value) for value in rows.values]
    return replace(rows, values=np.array(words, dtype=object))


def bundled() -> Rows:
    """Return 569 tumours of the breast, measured under a microscope, benign or malignant.

    Wolberg, Street & Mangasarian, 1995, UCI Machine Learning Repository.
    """
    try:
        from sklearn.datasets import load_breast_cancer  # type: ignore[import-untyped]
    except ImportError:
        fail("the bundled table comes with a library: pip install scikit-learn; or use --data.")
    found = load_breast_cancer()
    values, target = found.data.astype(np.float64), found.target_names[found.target].astype(object)
    columns = dict(zip(map(str, found.feature_names), values.T, strict=True))
    total = digest(values.tobytes(), found.target.tobytes())
    return Rows("breast_cancer", total, columns, "diagnosis", target)


def encoded(rows: Rows, parts: Parts, model: ModelConfig) -> Table:
    """Return rows as the network takes them, or stop where it has no output for a class.

    The classes are those of the table, in the order of the alphabet.
    """
    classes = sorted(set(map(str, rows.values)))
    if not 2 <= len(classes) <= model.n_outputs:
        fail(
            f"{rows.name} has {len(classes)} classes of {rows.target!r}, and the model takes 2 to "
            f"{model.n_outputs}: set task.num_classes in the spec."
        )
    schema = schema_of(rows, parts["train"], model, {"classes": classes})
    place = {each: number for number, each in enumerate(classes)}
    targets = torch.tensor([place[str(value)] for value in rows.values])
    return Table(rows.sha256, schema, (*inputs(schema, rows.columns, model), targets), parts)


def load_table(config: Config, path: Path | None, target: str | None, model: ModelConfig) -> Table:
    """Return the table that training reads."""
    rows = load_rows(path, target)
    return encoded(rows, parts_of(rows, config.val_fraction, config.test_fraction), model)


def main() -> None:
    """Show a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=existing, metavar="PATH", help="a table (default: bundled)")
    parser.add_argument("--target", metavar="COLUMN", help="to predict (default: the last)")
    parser.add_argument("--size", choices=("proxy", "full"), default="proxy")
    args = parser.parse_args()
    config = load_config(Config, "data", args.size)
    model = load_config(ModelConfig, "model", args.size)
    rows = load_rows(args.data, args.target)
    table = encoded(rows, parts_of(rows, config.val_fraction, config.test_fraction), model)
    print(f"{rows.name}, sha256 {rows.sha256}")
    counts = ", ".join(f"{split} {len(table.parts[split]):,}" for split in SPLITS)
    print(f"{len(rows.values):,} rows: {counts}")
    for name, (mean, std) in table.schema.numeric.items():
        missing = int(np.isnan(rows.columns[name]).sum())
        print(f"  {name}: numeric, mean {mean:.4g}, deviation {std:.4g}, {missing:,} missing")
    for name, words in table.schema.categorical.items():
        missing = int((rows.columns[name] == "").sum())
        print(f"  {name}: {len(words):,} categories, {missing:,} missing")
    print(f"to predict: {rows.target}")
    for name, number in Counter(map(str, rows.values)).most_common():
        print(f"  {name}: {number:,} rows")


if __name__ == "__main__":
    run(main)
