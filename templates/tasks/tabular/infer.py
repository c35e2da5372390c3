"""Predict the target of each row of a table with a trained checkpoint.

    python infer.py --input rows.csv

Prints a table: the number of the row, from 1, and its prediction; for classes also the probability
of each. The target's own column, and columns that training did not see, are ignored.
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
from runtime.columns import inputs, read_schema
from runtime.errors import run
from runtime.options import Group, existing
from runtime.scripts import Setting, Trained, serving
from runtime.tables import read_table


@dataclass(frozen=True)
class Config:
    """How predictions are made and shown."""

    batch_size: int = 1024
    """Rows predicted at once."""
    digits: int = 6
    """Significant digits of a printed number; digits after the point of a printed probability."""
    dtype: str = "bfloat16"
    """bfloat16 or float32: the format of weights and arithmetic."""


@dataclass(frozen=True)
class Kind:
    """How predictions of one kind of target are read and printed.

    Attributes:
        names: Returns the names of the printed columns; the checkpoint knows those of classes.
        cells: Returns their cells for one row of the network's outputs.
    """

    names: Callable[[Facts], list[str]]
    cells: Callable[[Tensor, Facts, int], list[str]]


def number_names(target: Facts) -> list[str]:
    """Return the one column of a predicted number."""
    return [target["name"]]


def number_cells(outputs: Tensor, target: Facts, digits: int) -> list[str]:
    """Return the prediction in the unit of the target."""
    return [f"{float(outputs[0]) * target['std'] + target['mean']:.{digits}g}"]


def class_names(target: Facts) -> list[str]:
    """Return the column of the likeliest class, and one for the probability of each."""
    return [target["name"], *(f"p({name})" for name in target["classes"])]


def class_cells(outputs: Tensor, target: Facts, digits: int) -> list[str]:
    """Return the likeliest class, and the probability of each."""
    classes = target["classes"]
    # The model may have more outputs than the table has classes; these share the probability too.
    shares = outputs.softmax(0)[: len(classes)]
    return [classes[int(shares.argmax())], *(f"{share:.{digits}f}" for share in shares.tolist())]


KINDS = {"number": Kind(number_names, number_cells), "class": Kind(class_names, class_cells)}


@torch.inference_mode()
def predict(
    model: Model, numbers: Tensor, categories: Tensor, size: int, device: torch.device
) -> Tensor:
    """Return the network's outputs for each row, (rows, n_outputs), float64."""
    cuts = [slice(at, at + size) for at in range(0, len(numbers), size)]
    pairs = ((numbers[cut], categories[cut]) for cut in cuts)
    return torch.cat([model(n.to(device), c.to(device)).double().cpu() for n, c in pairs])


def options(group: Group) -> None:
    text = "a table with the columns that the model was trained with"
    group.add_argument("--input", type=existing, required=True, metavar="PATH", help=text)


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print a line for each row."""
    config, schema = trained.config, read_schema(trained.folder)
    numbers, categories = inputs(schema, read_table(trained.args.input), trained.model)
    model = trained.load(lambda: Model(trained.model), getattr(torch, config.dtype))
    outputs = predict(model, numbers, categories, config.batch_size, trained.device)

    # A spreadsheet reads this table, and so does any script behind a pipe.
    kind = KINDS[trained.data.target_kind]
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["row", *kind.names(schema.target)])
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
