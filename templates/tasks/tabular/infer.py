"""Predict the target of each row of a table with a trained checkpoint.

    python infer.py --input rows.csv

Prints a table: the number of the row, from 1, and its prediction; for classes also the probability
of each. The target's own column, and columns that training did not see, are ignored.
"""

import argparse
import csv
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from data import Config as DataConfig
from data import Facts
from model import Config as ModelConfig
from model import Model
from runtime.checkpoint import find_checkpoint, load_model
from runtime.columns import inputs, read_schema
from runtime.device import choose_device
from runtime.errors import run
from runtime.options import existing, shared_options, sized
from runtime.settings import load_config
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


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "infer", "proxy"), Config()
    parser = shared_options(
        __doc__, batch_size=f"rows predicted at once {sized(proxy, full, 'batch_size')}"
    )
    group = parser.add_argument_group("options of infer.py")
    group.add_argument(
        "--input",
        type=existing,
        required=True,
        metavar="PATH",
        help="a table with the columns to read",
    )
    group.add_argument(
        "--dtype",
        choices=("bfloat16", "float32"),
        help=f"of weights and arithmetic {sized(proxy, full, 'dtype')}",
    )
    return parser.parse_args()


def main() -> None:
    """Print predictions."""
    args = command_line()
    device = choose_device(args.device, args.threads)
    config = load_config(Config, "infer", args.size)
    given = {k: v for k, v in vars(args).items() if v is not None and hasattr(config, k)}
    config = replace(config, **given)
    model_config = load_config(ModelConfig, "model", args.size)
    folder = find_checkpoint(args.checkpoint or args.out / "checkpoint")
    schema = read_schema(folder)
    numbers, categories = inputs(schema, read_table(args.input), model_config)
    model = load_model(lambda: Model(model_config), folder)
    model.to(device, torch.bfloat16 if config.dtype == "bfloat16" else torch.float32)
    outputs = predict(model, numbers, categories, config.batch_size, device)

    kind = KINDS[load_config(DataConfig, "data", args.size).target_kind]
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["row", *kind.names(schema.target)])
    for row, each in enumerate(outputs, start=1):
        table.writerow([row, *kind.cells(each, schema.target, config.digits)])


if __name__ == "__main__":
    run(main)
