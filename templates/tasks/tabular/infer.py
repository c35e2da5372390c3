"""Predict the target of each row of a table with a trained checkpoint.

    python infer.py --input rows.csv

Prints a table: the number of the row, from 1, and its prediction; for classes, also the probability
of each class. The column of the target and columns that training did not use are ignored.
"""

import csv
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from data import Config as DataConfig
from data import Facts
from model import Config as ModelConfig
from model import Model
from runtime.columns import inputs, note_unknown, read_schema
from runtime.errors import run
from runtime.options import Group, existing
from runtime.scripts import Setting, Trained, serving
from runtime.tables import read_table


@dataclass(frozen=True)
class Config:
    """How predictions are computed and printed."""

    batch_size: int = 1024
    """Rows predicted at once."""
    digits: int = 6
    """Significant digits of a printed number; decimal places of a printed probability."""
    dtype: str = "bfloat16"
    """bfloat16 or float32: the format of weights and arithmetic."""


@dataclass(frozen=True)
class Kind:
    """Functions that differ by the kind of target when predictions are printed.

    Attributes:
        names: Returns the names of the printed columns; those of classes are in the checkpoint.
        cells: Returns the cells of these columns for one row of the network's outputs.
    """

    # The checkpoint's facts suffice to print a prediction: no training data is needed here.
    names: Callable[[Facts], list[str]]
    cells: Callable[[Tensor, Facts, int], list[str]]


def number_names(target: Facts) -> list[str]:
    """Return the one column of a predicted number."""
    return [target["name"]]


def number_cells(outputs: Tensor, target: Facts, digits: int) -> list[str]:
    """Return the prediction in the unit of the target."""
    # The network predicts standardized targets; mean and deviation are those of the training rows.
    return [f"{float(outputs[0]) * target['std'] + target['mean']:.{digits}g}"]


def class_names(target: Facts) -> list[str]:
    """Return the column of the likeliest class, and one for the probability of each."""
    return [target["name"], *(f"p({name})" for name in target["classes"])]


def class_cells(outputs: Tensor, target: Facts, digits: int) -> list[str]:
    """Return the likeliest class, and the probability of each."""
    classes = target["classes"]
    # The model may have more outputs than the table has classes. Training never rewards the extra
    # ones, so their share of the probability is almost 0.
    shares = outputs.softmax(0)[: len(classes)]
    return [classes[int(shares.argmax())], *(f"{share:.{digits}f}" for share in shares.tolist())]


# The keys are those of KINDS in data.py.
KINDS = {"number": Kind(number_names, number_cells), "class": Kind(class_names, class_cells)}


@torch.inference_mode()
def predict(
    model: Model, numbers: Tensor, categories: Tensor, size: int, device: torch.device
) -> Tensor:
    """Return the network's outputs for each row, (rows, n_outputs), float64."""
    # Batches keep memory constant for a table of any length.
    cuts = [slice(at, at + size) for at in range(0, len(numbers), size)]
    pairs = ((numbers[cut], categories[cut]) for cut in cuts)
    return torch.cat([model(n.to(device), c.to(device)).double().cpu() for n, c in pairs])


def options(group: Group) -> None:
    text = "a table with the columns that the model was trained on"
    group.add_argument("--input", type=existing, required=True, metavar="PATH", help=text)


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print a line for each row."""
    config, schema = trained.config, read_schema(trained.folder)
    # The checkpoint's schema encodes the table: its own means would shift every prediction. A
    # category that training did not see gets the code of unknown ones.
    columns = read_table(trained.args.input)
    numbers, categories = inputs(schema, columns, trained.model)
    note_unknown(schema, columns)
    model = trained.load(lambda: Model(trained.model), getattr(torch, config.dtype))
    # Float64 outputs lose no digits when they are scaled back to the unit of the target.
    outputs = predict(model, numbers, categories, config.batch_size, trained.device)

    # The table is CSV, so that spreadsheets and scripts can read it.
    kind = KINDS[trained.data.target_kind]
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["row", *kind.names(schema.target)])
    # Rows keep their order, and count from 1 like the lines after a header.
    for row, each in enumerate(outputs, start=1):
        table.writerow([row, *kind.cells(each, schema.target, config.digits)])


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "batch_size": Setting("rows predicted at once"),
        "dtype": Setting("format of weights and arithmetic", str, ("bfloat16", "float32")),
    },
)

if __name__ == "__main__":
    run(main)
