"""Say how anomalous each window of a table is, with a trained checkpoint.

    python infer.py --input new.csv
    python infer.py --input new.csv --normal known.csv     with a yes or a no

Prints a table: the first and the last row of each window, from 1, and its error of reconstruction.
With --normal, rows that are known to be normal, it also says whether the error is above that of all
but a small share of theirs.
"""

import argparse
import csv
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data import channels_of, cut, standardized
from model import Config as ModelConfig
from model import Model, errors
from runtime.checkpoint import find_checkpoint, load_model
from runtime.columns import Schema, read_schema
from runtime.device import choose_device
from runtime.errors import fail, run
from runtime.options import existing, shared_options, sized
from runtime.settings import load_config


@dataclass(frozen=True)
class Config:
    """How windows are judged and shown."""

    batch_size: int = 1024
    """Windows judged at once."""
    quantile: float = 0.99
    """Share of the normal windows whose error does not count as anomalous."""
    digits: int = 6
    """Significant digits of a printed error."""
    dtype: str = "bfloat16"
    """bfloat16 or float32: the format of weights and arithmetic."""


@torch.inference_mode()
def judged(model: Model, path: Path, schema: Schema, size: int) -> NDArray[np.float64]:
    """Return the error of each window of a table, side by side."""
    config, device = model.config, next(model.parameters()).device
    values = standardized(schema, channels_of(path), config)
    starts = np.arange(0, len(values) - config.window + 1, config.window)
    if not len(starts):
        fail(f"{path} has {len(values)} steps, and a window has {config.window}.")
    groups = (starts[at : at + size] for at in range(0, len(starts), size))
    batches = (cut(values, group, config.window) for group in groups)
    found = torch.cat([errors(x, model(x.to(device)).cpu()) for x in batches])
    return np.asarray(found.double().numpy())


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "infer", "proxy"), Config()
    parser = shared_options(
        __doc__, batch_size=f"windows judged at once {sized(proxy, full, 'batch_size')}"
    )
    group = parser.add_argument_group("options of infer.py")
    text = "a table with the channels that the model was trained with"
    group.add_argument("--input", type=existing, required=True, metavar="PATH", help=text)
    group.add_argument(
        "--normal", type=existing, metavar="PATH", help="another, known to be normal"
    )
    for name, kind, text in (
        ("quantile", float, "share of normal windows that do not count"),
        ("dtype", str, "of weights and arithmetic"),
    ):
        choices = ("bfloat16", "float32") if name == "dtype" else None
        note = f"{text} {sized(proxy, full, name)}"
        group.add_argument(f"--{name}", type=kind, choices=choices, help=note)
    return parser.parse_args()


def main() -> None:
    """Print errors."""
    args = command_line()
    device = choose_device(args.device, args.threads)
    config = load_config(Config, "infer", args.size)
    given = {k: v for k, v in vars(args).items() if v is not None and hasattr(config, k)}
    config = replace(config, **given)
    if not 0 <= config.quantile <= 1:
        fail("--quantile lies from 0 to 1.")
    model_config = load_config(ModelConfig, "model", args.size)
    folder = find_checkpoint(args.checkpoint or args.out / "checkpoint")
    schema = read_schema(folder)
    model = load_model(lambda: Model(model_config), folder)
    model.to(device, torch.bfloat16 if config.dtype == "bfloat16" else torch.float32)
    found = judged(model, args.input, schema, config.batch_size)
    limit = None
    if args.normal:
        normal = judged(model, args.normal, schema, config.batch_size)
        limit = float(np.quantile(normal, config.quantile))

    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["first", "last", "error", *(["anomaly"] if limit is not None else [])])
    for index, error in enumerate(found):
        first = index * model_config.window
        verdict = [] if limit is None else [int(error > limit)]
        row = [first + 1, first + model_config.window, f"{error:.{config.digits}g}"]
        table.writerow([*row, *verdict])


if __name__ == "__main__":
    run(main)
