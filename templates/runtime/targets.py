"""The number to predict for each sample: read from data, standardized by training, and back."""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runtime.columns import scale_of
from runtime.errors import fail
from runtime.numbers import Cells, columns_of
from runtime.options import Group
from runtime.settings import read_json
from runtime.tables import is_numeric

Values = NDArray[np.float64]  # (samples,)
TARGET = "target"
"""The usual name of the column with the number."""


@dataclass(frozen=True)
class Target:
    """The number that a model predicts, with its scale over the training split.

    Attributes:
        name: What it is, such as `price`.
        mean: Its mean.
        std: Its standard deviation.
    """

    name: str
    mean: float
    std: float

    def standardized(self, values: Values) -> Tensor:
        """Return deviations from the mean in standard deviations, float32."""
        # Standardized targets let one learning rate work for any unit. The network starts near 0.
        return torch.from_numpy(((values - self.mean) / self.std).astype(np.float32))

    def restored(self, outputs: Tensor) -> Values:
        """Return standardized numbers in the target's unit."""
        # Float64 loses no digits where the mean is large and the deviation small.
        return np.asarray(outputs.double().cpu().numpy() * self.std + self.mean)

    def entries(self) -> dict[str, Any]:
        """Return the entries of config.json: those of transformers for a regression, and ours."""
        return {
            TARGET: asdict(self),
            "problem_type": "regression",
            "id2label": {"0": self.name},
            "label2id": {self.name: 0},
        }


def target_of(data: str, name: str, train: Values) -> Target:
    """Return the target with its scale over the training split, or stop if it never changes."""
    # Val and test samples must not shift the scale.
    if np.ptp(train) == 0:
        fail(f"{data}: {name!r} has one value in all of train: there is nothing to predict.")
    return Target(name, *scale_of(train))


def read_target(folder: Path) -> Target:
    """Return the target of a checkpoint, or stop if it has none."""
    values: Any = read_json(folder / "config.json").get(TARGET)
    try:
        found = Target(str(values["name"]), float(values["mean"]), float(values["std"]))
    except (KeyError, TypeError, ValueError):
        fail(f"{folder / 'config.json'} has no {TARGET}: choose a checkpoint of this task.")
    if not all(map(math.isfinite, (found.mean, found.std))):
        fail(f"{folder / 'config.json'}: mean and std of the {TARGET} must be finite numbers.")
    return found


def numbers_of(data: Path, name: str, words: Sequence[str], places: Sequence[str]) -> Values:
    """Return the numbers of a column of text, or stop at one that is none.

    Args:
        data: The data, for notes and errors.
        name: The column.
        words: Its cells.
        places: Where each cell is, for errors.
    """
    # A comma before three digits may separate thousands: what stays open is refused with its cell.
    column = columns_of({name: Cells(data, name, words, places.__getitem__)}, comma=False)[name]
    if not is_numeric(column):
        fail(f"{data}: {name!r} must be a number for each sample; write its other words as one.")
    if np.isinf(column).any():
        place = places[int(np.flatnonzero(np.isinf(column))[0])]
        fail(f"{place} has an infinite {name!r}: leave the sample out.")
    if np.isnan(column).any():
        place = places[int(np.flatnonzero(np.isnan(column))[0])]
        fail(f"{place} has no number as its {name!r}: leave the sample out.")
    return np.asarray(column)


def by_split(values: Values, sizes: Mapping[str, int]) -> dict[str, Values]:
    """Return the numbers of each split, which stand one split after the other."""
    ends = np.cumsum([*sizes.values()])
    return dict(zip(sizes, np.split(values, ends[:-1]), strict=True))


def target_option(group: Group | argparse.ArgumentParser) -> None:
    """Add --target, which names the column with the number."""
    text = f"the column with the number to predict (default: {TARGET})"
    group.add_argument("--target", default=TARGET, metavar="COLUMN", help=text)
