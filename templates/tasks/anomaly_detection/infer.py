"""Say how anomalous each window of a table is, with a trained checkpoint.

    python infer.py --input new.csv
    python infer.py --input new.csv --normal known.csv     with a yes or a no

Prints a table: the first and the last row of each window, from 1, and its reconstruction error.
With --normal, a table that is known to be normal, a further column is 1 where the error exceeds a
quantile of the normal windows' errors.
"""

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data import Config as DataConfig
from data import channels_of, cut, standardized
from model import Config as ModelConfig
from model import Model, errors
from runtime.columns import Schema, read_schema
from runtime.errors import fail, run
from runtime.options import Group, existing
from runtime.scripts import Setting, Trained, serving


@dataclass(frozen=True)
class Config:
    """How windows are judged and shown."""

    batch_size: int = 1024
    """Windows judged at once."""
    quantile: float = 0.99
    """Quantile of normal errors above which a window is anomalous; higher gives fewer alarms."""
    digits: int = 6
    """Significant digits of a printed error."""
    dtype: str = "bfloat16"
    """bfloat16 or float32: the format of weights and arithmetic."""


@torch.inference_mode()
def judged(model: Model, path: Path, schema: Schema, size: int) -> NDArray[np.float64]:
    """Return the error of each window of a table; windows lie side by side."""
    config, device = model.config, next(model.parameters()).device
    # Values are standardized by the training rows, not by this table: an anomaly that fills the
    # whole table must not become its own normal.
    values = standardized(schema, channels_of(path), config)
    # Windows do not overlap, and rows behind the last whole window are not judged.
    starts = np.arange(0, len(values) - config.window + 1, config.window)
    if not len(starts):
        fail(f"{path} has {len(values)} steps, and a window has {config.window}.")
    groups = (starts[at : at + size] for at in range(0, len(starts), size))
    batches = (cut(values, group, config.window) for group in groups)
    parts = [errors(x, model(x.to(device)).cpu()) for x in batches]
    return np.asarray(torch.cat(parts).double().numpy())


def options(group: Group) -> None:
    text = "a table with the channels that the model was trained with"
    group.add_argument("--input", type=existing, required=True, metavar="PATH", help=text)
    group.add_argument(
        "--normal", type=existing, metavar="PATH", help="another table, known to be normal"
    )


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print a line for each window."""
    args, config = trained.args, trained.config
    if not 0 <= config.quantile <= 1:
        fail("--quantile lies from 0 to 1.")
    schema = read_schema(trained.folder)
    model = trained.load(lambda: Model(trained.model), getattr(torch, config.dtype))
    windows = judged(model, args.input, schema, config.batch_size)
    limit = None
    if args.normal:
        # Errors have no scale of their own: only normal windows tell which is large.
        normal = judged(model, args.normal, schema, config.batch_size)
        limit = float(np.quantile(normal, config.quantile))

    # A spreadsheet reads this table, and so does any script behind a pipe.
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["first", "last", "error", *(["anomaly"] if limit is not None else [])])
    for index, error in enumerate(windows):
        first = index * trained.model.window
        verdict = [] if limit is None else [int(error > limit)]
        row = [first + 1, first + trained.model.window, f"{error:.{config.digits}g}"]
        table.writerow([*row, *verdict])


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "batch_size": Setting("windows judged at once"),
        "quantile": Setting("quantile of normal errors above which a window is anomalous", float),
        "dtype": Setting("format of weights and arithmetic", str, ("bfloat16", "float32")),
    },
)

if __name__ == "__main__":
    run(main)
