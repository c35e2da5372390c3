"""Tables: a number or a class for each row.

The full model trains as in the example of the authors' code for arXiv:2106.11959.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from metagen.tasks.quantities import OUTPUTS, require_one
from metagen.tasks.schedule import Habits, of_samples
from metagen.tasks.task import Benchmark, Dims, Lookup, Section, Task, Value

# Most tables of the papers have fewer columns; more room takes more parameters.
ROOM: Mapping[str, Value] = {"n_numeric": 32, "n_categorical": 16, "n_categories": 512}
ROOM_REASONS = {
    "n_numeric": "room for a table's columns; a table may have fewer",
    "n_categorical": "room for a table's columns; a table may have fewer",
    "n_categories": "room for the categories of all categorical columns; the rest of a column's "
    "words are one category",
}
PROXY_ROOM: Mapping[str, Value] = {"n_numeric": 32, "n_categorical": 4, "n_categories": 64}
# Cross-validation trains ten networks, so one seed of it is enough.
AGAIN = ("--repeats", "0")
HABITS = of_samples(
    batch=256,
    rate=3e-4,
    decay=1e-5,
    epochs=100,
    data=100_000,
    source="as in the example of the authors' code",
)


class Tabular(Task):
    """From a row's numbers (B, N) and categories (B, C) to its outputs (B, O).

    Attributes:
        target_kind: What a row's target is: a `number` or a `class`.
        digits: Significant digits of a predicted number, or digits after the point of a
            class's probability.
    """

    name = "tabular"
    target_kind: str
    digits: int
    input = "row"
    switches = (("no weight decay", "train.weight_decay", 0.0),)

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        return HABITS

    def proxy_habits(self, m: Dims) -> Habits:
        # The decay is high because the bundled rows are few.
        warmup = self.benchmark.steps["quick"] // 10
        return replace(HABITS, batch=64, rate=5e-4, decay=1.0, warmup=warmup)

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"target_kind": self.target_kind, "val_fraction": 0.1, "test_fraction": 0.2}

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        # Cross-validation trains the model again for each fold, which takes the full one too long.
        return {
            "batch_size": 1024,
            "penalty": 1.0,
            "folds": 5,
            "repeats": 2 if reduced else 0,
            "most_rows": 2000,
            "baseline_rows": 100_000,
        }

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"batch_size": 1, "digits": self.digits, "dtype": "bfloat16"}

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shapes of rows: numbers (length, N) and categories (length, C)."""
        return [
            {"shape": [length, m["n_numeric"]], "dtype": "float32"},
            {"shape": [length, m["n_categorical"]], "dtype": "int64"},
        ]


class TabularRegression(Tabular):
    """A number for each row of a table."""

    target_kind = "number"
    digits = 6
    checked = frozenset({OUTPUTS})
    metrics = ("rmse", "r2")
    benchmark = Benchmark(
        "progression of diabetes",
        {"quick": 400, "full": 1500},
        ("scikit-learn",),
        again=AGAIN,
        sheets=("diabetes",),
    )
    words = {
        "pipeline_tag": "tabular-regression",
        "unit": "row",
        "loss_unit": "variance of the target",
        "usage": "--input rows.csv",
        "does": "predicts a number for each row",
        "data": "the diabetes table that comes with scikit-learn",
        "outcome": "The proxy's predictions over the truth, for rows of the test split.",
        "risks": "predictions for rows unlike those of training, and differences between groups of "
        "people",
    }
    defaults = {**ROOM, "n_outputs": 1}
    default_reasons = {**ROOM_REASONS, "n_outputs": "one number is predicted"}
    proxy = {**PROXY_ROOM, "n_outputs": 1}

    def fixed(self, key: Lookup) -> dict[str, Value]:
        """Return the number of outputs.

        Raises:
            SpecError: The spec declares a number of outputs other than 1.
        """
        require_one(self.input, key)
        return {"n_outputs": 1}


class TabularClassification(Tabular):
    """A class for each row of a table."""

    target_kind = "class"
    digits = 4
    metrics = ("accuracy", "macro_f1")
    benchmark = Benchmark(
        "benign and malignant tumours",
        {"quick": 300, "full": 400},
        ("scikit-learn",),
        again=AGAIN,
        sheets=("breast_cancer",),
    )
    words = {
        "pipeline_tag": "tabular-classification",
        "unit": "row",
        "loss_unit": "nat/row",
        "usage": "--input rows.csv",
        "does": "gives each row a class and its probability",
        "data": "the breast cancer table that comes with scikit-learn",
        "outcome": "The proxy's confusion matrix for rows of the test split: how many of a class "
        "it takes for another.",
        "risks": "classes of rows unlike those of training, calibration, rare classes, and "
        "differences between groups of people",
    }
    defaults = {**ROOM, "n_outputs": 2}
    default_reasons = {
        **ROOM_REASONS,
        "n_outputs": "no task.num_classes is declared: 2",
    }
    proxy = {**PROXY_ROOM, "n_outputs": 2}
    fixed_by = {"n_outputs": "task.num_classes"}
