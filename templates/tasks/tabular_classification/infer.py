"""Predict a class for each row of a table with a trained checkpoint.

    python infer.py --input rows.csv

Prints a table: the number of the row, from 1, its likeliest class, and the probability of each. A
column of the target, and columns that training did not see, are not looked at.
"""

import argparse
import csv
import sys
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

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
    digits: int = 4
    """Digits of a printed probability after the point."""
    dtype: str = "bfloat16"
    """bfloat16 or float32: the format of weights and arithmetic."""


@torch.inference_mode()
def predict(
    model: Model, numbers: torch.Tensor, categories: torch.Tensor, size: int, device: torch.device
) -> NDArray[np.float64]:
    """Return the probabilities of classes for each row, (rows, n_outputs)."""
    cuts = [slice(at, at + size) for at in range(0, len(numbers), size)]
    pairs = ((numbers[cut], categories[cut]) for cut in cuts)
    found = [model(n.to(device), c.to(device)).double().softmax(1).cpu() for n, c in pairs]
    return np.asarray(torch.cat(found).numpy())


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
    found = predict(model, numbers, categories, config.batch_size, device)
    classes = schema.target["classes"]
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["row", schema.target["name"], *(f"p({name})" for name in classes)])
    for row, shares in enumerate(found[:, : len(classes)], start=1):
        best = classes[int(shares.argmax())]
        table.writerow([row, best, *(f"{share:.{config.digits}f}" for share in shares)])


if __name__ == "__main__":
    run(main)
