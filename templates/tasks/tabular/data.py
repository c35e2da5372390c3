"""Read the rows of a table with a column to predict: your own table, or one from scikit-learn.

    python data.py --data table.csv                  shows what training will read
    python data.py --data table.csv --target price   if the target is not the last column

A table (.csv, .tsv, .jsonl, .json or .parquet; .gz too) has a row for each example; a folder holds
parts of one table, with equal columns. Hidden files are no parts. A column of
numbers alone is numeric, any other is categorical; cells may be empty. Rows without a target are
left out. Notes on standard error, here and in train.py, say what may be other than it seems.
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
    deviation_of,
    inputs,
    parts_of,
    rows_of,
    scale_of,
    schema_of,
)
from runtime.digests import digest
from runtime.doubts import note_columns, note_parts, repeats
from runtime.errors import fail, run
from runtime.notes import note
from runtime.options import data_options
from runtime.settings import load_config
from runtime.splits import SPLITS
from runtime.tables import described, is_numeric


@dataclass(frozen=True)
class Config:
    """Kind of target, and sizes of the splits; a digest of a row's cells decides its split."""

    target_kind: str = "number"
    """number: predict a quantity, by regression; class: predict one of a few labels."""
    val_fraction: float = 0.1
    """Share of the rows for validation during training."""
    test_fraction: float = 0.2
    """Share of the rows that only eval.py reads."""


Facts = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """Functions that differ by the kind of target when a table is read.

    Attributes:
        bundled: Returns the table of the benchmark.
        checked: Returns rows with their targets in the form that this kind needs, or stops.
        facts: Returns what it takes to turn outputs into predictions, from the table and its
            training rows; the checkpoint stores it.
        encoded: Returns the targets in the form for the loss, (rows,), by these facts.
        described: Yields lines that describe the target in each split.
    """

    bundled: Callable[[], Rows]
    checked: Callable[[Rows], Rows]
    facts: Callable[[Rows, Index, ModelConfig], Facts]
    encoded: Callable[[Rows, Facts], Tensor]
    described: Callable[[Rows, Parts, Facts], Iterator[str]]


def diabetes() -> Rows:
    """Return 442 patients with diabetes, and the progression of their disease after a year.

    Efron et al., 2004, Least Angle Regression, Annals of Statistics 32(2).
    """
    try:
        from sklearn.datasets import load_diabetes  # type: ignore[import-untyped]
    except ImportError:
        fail("the bundled table comes with a library: pip install scikit-learn; or use --data.")
    # The library's own scaling uses all rows, and so would leak the test split into training.
    found = load_diabetes(scaled=False)
    values, target = found.data.astype(np.float64), found.target.astype(np.float64)
    columns = dict(zip(found.feature_names, values.T, strict=True))
    # A release of scikit-learn with other values has another digest, so its scores are not
    # compared.
    total = digest(values.tobytes(), target.tobytes())
    return Rows("diabetes", total, columns, "progression", target)


def require_numbers(rows: Rows) -> Rows:
    """Return the rows unchanged, or stop if the target is not numeric."""
    if not is_numeric(rows.values):
        fail(f"{rows.name}: column {rows.target!r} has text, but the target must be a number.")
    if len(rows.values) > 1 and np.ptp(rows.values) == 0:
        fail(f"{rows.name}: column {rows.target!r} has one value in all rows: nothing to predict.")
    return rows


def number_facts(rows: Rows, train: Index, model: ModelConfig) -> Facts:
    """Return the mean and the standard deviation of the training rows' targets."""
    mean, std = scale_of(rows.values[train])
    return {"mean": mean, "std": std}


def standardized(rows: Rows, facts: Facts) -> Tensor:
    """Return targets as deviations from their mean in standard deviations, float32."""
    # Standardized targets let one learning rate work for any unit. The network starts near 0.
    return torch.from_numpy(((rows.values - facts["mean"]) / facts["std"]).astype(np.float32))


def number_lines(rows: Rows, parts: Parts, facts: Facts) -> Iterator[str]:
    """Yield the range and the mean."""
    yield f"target: {described(rows.target, rows.values)}, mean {facts['mean']:.4g}"


def tumours() -> Rows:
    """Return 569 breast tumours, benign or malignant, with measurements from a microscope.

    Wolberg, Street & Mangasarian, 1995, UCI Machine Learning Repository.
    """
    try:
        from sklearn.datasets import load_breast_cancer
    except ImportError:
        fail("the bundled table comes with a library: pip install scikit-learn; or use --data.")
    found = load_breast_cancer()
    values, target = found.data.astype(np.float64), found.target_names[found.target].astype(object)
    # Column names become text, as in a file; the library has its own type for them.
    columns = dict(zip(map(str, found.feature_names), values.T, strict=True))
    # The digest covers the numbers of classes, because text in an object array has no bytes of its
    # own.
    total = digest(values.tobytes(), found.target.tobytes())
    return Rows("breast_cancer", total, columns, "diagnosis", target)


def as_labels(rows: Rows) -> Rows:
    """Return the rows with text as targets; numbered classes become text such as "3"."""
    if not is_numeric(rows.values):
        return rows
    # 3 and 3.0 are one label, although an empty cell makes a column of integers floating-point.
    words = [str(int(value)) if value.is_integer() else str(value) for value in rows.values]
    return replace(rows, values=np.array(words, dtype=object))


def class_facts(rows: Rows, train: Index, model: ModelConfig) -> Facts:
    """Return the classes in alphabetical order, or stop if the model has no output for one."""
    # All rows count, not only training rows: a class without a training row is still a class.
    classes = sorted(set(map(str, rows.values)))
    if not 2 <= len(classes) <= model.n_outputs:
        fail(
            f"{rows.name} has {len(classes)} classes of {rows.target!r}, and the model takes 2 to "
            f"{model.n_outputs}: set task.num_classes in the spec."
        )
    return {"classes": classes}


def class_numbers(rows: Rows, facts: Facts) -> Tensor:
    """Return the place of each target among the classes, int64."""
    # Alphabetical order fixes the numbers, so a table with its rows in another order is the same.
    place = {each: number for number, each in enumerate(facts["classes"])}
    return torch.tensor([place[str(value)] for value in rows.values])


def class_lines(rows: Rows, parts: Parts, facts: Facts) -> Iterator[str]:
    """Yield how many rows each class has in each split."""
    # Rare classes are easy to miss in accuracy, so the counts are printed.
    yield f"target: {rows.target}"
    counts = {split: Counter(map(str, rows.values[parts[split]])) for split in SPLITS}
    for name, number in Counter(map(str, rows.values)).most_common():
        shares = ", ".join(f"{split} {counts[split][name]:,}" for split in SPLITS)
        yield f"  {name}: {number:,} rows: {shares}"


def untested(rows: Rows, parts: Parts, facts: Facts, split: str = "test") -> list[str]:
    """Return the classes without a row in a split; numbers have no classes."""
    have = set(map(str, rows.values[parts[split]]))
    return [name for name in facts.get("classes", ()) if name not in have]


def note_classes(rows: Rows, parts: Parts, facts: Facts) -> None:
    """Note the classes that a split has no row of."""
    for split, so in (("train", "the model cannot learn"), ("test", "no score is about")):
        if absent := untested(rows, parts, facts, split):
            shown = ", ".join(map(repr, absent[:5])) + (", ..." if absent[5:] else "")
            note(
                f"{rows.name}: {len(absent)} of {len(facts['classes'])} classes have no row in the "
                f"{split} split, so {so} them: {shown}."
            )


# This table holds all that differs by the kind of target. To add a kind, such as counts, add a row
# here, in eval.py and in infer.py, and a loss in train.py.
KINDS = {
    "number": Kind(diabetes, require_numbers, number_facts, standardized, number_lines),
    "class": Kind(tumours, as_labels, class_facts, class_numbers, class_lines),
}


def load_rows(config: Config, path: Path | None, target: str | None) -> Rows:
    """Return the rows of a table, or the bundled ones, or stop if the target has the wrong kind.

    Args:
        config: Sets the kind of target.
        path: The table; None for the bundled one.
        target: The column to predict; None for the last one.
    """
    kind = KINDS[config.target_kind]
    if path is None:
        return kind.checked(kind.bundled())
    rows = kind.checked(rows_of(path, target))
    note_columns(rows)
    return rows


def encoded(config: Config, rows: Rows, parts: Parts, model: ModelConfig) -> Table:
    """Return rows in the form for the network, or stop if it has too few inputs."""
    # Val and test rows must not shift means, add categories or change the target's scale.
    kind, train = KINDS[config.target_kind], parts["train"]
    # Facts of the target come from training rows alone, like those of the columns.
    facts = kind.facts(rows, train, model)
    schema = schema_of(rows, train, model, facts)
    # (rows, numeric), (rows, categorical), (rows,)
    tensors = (*inputs(schema, rows.columns, model), kind.encoded(rows, facts))
    return Table(rows.name, rows.sha256, schema, tensors, parts)


def load_table(config: Config, rows: Rows, model: ModelConfig) -> Table:
    """Return the table that training reads."""
    # The split comes first, because means, deviations and categories come from training rows alone.
    parts = parts_of(rows, config.val_fraction, config.test_fraction)
    table = encoded(config, rows, parts, model)
    note_parts(rows, parts, table.schema)
    note_classes(rows, parts, table.schema.target)
    return table


def main() -> None:
    """Show a table."""
    parser = data_options(__doc__, data="a table, or a folder of its parts (default: bundled)")
    parser.add_argument("--target", metavar="COLUMN", help="column to predict (default: the last)")
    args = parser.parse_args()
    config = load_config(Config, "data", args.size)
    model = load_config(ModelConfig, "model", args.size)
    rows = load_rows(config, args.data, args.target)
    table = load_table(config, rows, model)
    schema, parts = table.schema, table.parts
    print(f"{rows.name}, sha256 {rows.sha256}")
    counts = ", ".join(f"{split} {len(parts[split]):,}" for split in SPLITS)
    print(f"{len(rows.values):,} rows: {counts}; {repeats(rows):,} repeat the inputs of another")
    # A column that is shown as words although it has numbers has a cell with text in it.
    for name, (mean, _) in schema.numeric.items():
        # Odd ranges and means show a column that was read in the wrong unit.
        deviation = deviation_of(rows.columns[name][parts["train"]])
        print(
            f"  {described(name, rows.columns[name])}; mean {mean:.4g}, deviation {deviation:.4g}"
        )
    for name, words in schema.categorical.items():
        print(f"  {described(name, rows.columns[name])}; {len(words):,} of them kept")
    print(*KINDS[config.target_kind].described(rows, parts, schema.target), sep="\n")


if __name__ == "__main__":
    run(main)
