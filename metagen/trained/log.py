"""`metrics.jsonl` of a training run: a line for each step, and the curve that documents draw."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

from metagen.measure.results import COLUMNS
from metagen.spec.findings import shown
from metagen.trained.door import content, refuse

PATH = "metrics.jsonl"
_LONGEST = 10_000  # bytes of a line
_ROWS = 2000  # a figure has fewer pixels than this across its curve
HINT = "bind the training folder as train.py left it; an edited log states what nobody measured"

Row = dict[str, float | None]


def read(data: bytes, step: int) -> list[Row]:
    """Return the lines up to the step of a checkpoint, each with the columns of the curve.

    Raises:
        TaskError: A line is no JSON, a step does not follow the last one, a number is not finite,
            or the log ends before the checkpoint.
    """
    rows: list[Row] = []
    for number, line in enumerate(data.splitlines(), 1):
        # A kill may cut the last line short; such a step is after the last checkpoint.
        if rows and rows[-1]["step"] == step:
            break
        rows.append(_row(f"{PATH}:{number}", line, rows[-1]["step"] if rows else 0))
    last = rows[-1]["step"] if rows else 0
    if last != step:
        sentence = f"The checkpoint is of step {step:,}, but the log ends at step {last:,.0f}."
        refuse(sentence, PATH, HINT)
    return rows


def _row(place: str, line: bytes, before: float | None) -> Row:
    values = content(place, line) if len(line) <= _LONGEST else None
    if not isinstance(values, dict):
        refuse("This line is no JSON object of a step.", place, HINT)
    row = {name: _number(place, name, values.get(name)) for name in COLUMNS}
    step = values.get("step")
    if type(step) is not int or step != (before or 0) + 1:
        sentence = f"The step is {shown(step)}, which does not follow {before or 0:,.0f}."
        refuse(sentence, place, HINT)
    if row["train_loss"] is None:
        refuse("The train_loss of this step is missing.", place, HINT)
    return row


def _number(place: str, name: str, value: Any) -> float | None:
    if value is None:
        return None
    finite = type(value) in (int, float) and math.isfinite(value)
    if not finite or (name == "learning_rate" and value < 0):
        refuse(f"{name} is {shown(value)}; allowed: a finite number.", place, HINT)
    return float(value) if name != "step" else value


def losses(rows: Sequence[Row]) -> dict[str, float | None]:
    """Return the last loss of training, and the last one of validation."""
    validated = [row["val_loss"] for row in rows if row["val_loss"] is not None]
    return {"train": rows[-1]["train_loss"], "val": validated[-1] if validated else None}


def table(rows: Sequence[Row]) -> bytes:
    """Return the curve as CSV; of a long run every so many steps, and each with a validation."""
    every = math.ceil(len(rows) / _ROWS) or 1
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for number, row in enumerate(rows):
        if number % every == 0 or number == len(rows) - 1 or row["val_loss"] is not None:
            writer.writerow(row)
    return text.getvalue().encode()
