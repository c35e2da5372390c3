"""Score how anomalous each window of a table is, with a trained checkpoint.

    python infer.py --input new.csv
    python infer.py --input new.csv --normal known.csv     adds a column of 0 and 1

Prints a table: the first and the last row of each window, from 1, and its reconstruction error.
--normal names a table that is known to be normal. Another column is then 1 if the error exceeds a
quantile of the errors of the normal windows, and 0 otherwise.
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
    """How windows are scored and printed."""

    batch_size: int = 1024
    """Windows scored at once."""
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
    # Windows do not overlap, and rows after the last whole window are not scored.
    starts = np.arange(0, len(values) - config.window + 1, config.window)
    if not len(starts):
        fail(f"{path} has {len(values)} steps, but a window has {config.window}: add rows.")
    # Generators hold one batch at a time, so a long table needs no more memory than a short one.
    groups = (starts[at : at + size] for at in range(0, len(starts), size))
    batches = (cut(values, group, config.window) for group in groups)
    # Errors are computed on the CPU in float32, so bfloat16 rounds the network's output only.
    parts = [errors(x, model(x.to(device)).cpu()) for x in batches]
    return np.asarray(torch.cat(parts).double().numpy())


def options(group: Group) -> None:
    # A threshold needs normal rows that the model did not train on: errors on training rows are
    # smaller, so a threshold from them raises false alarms.
    text = "a table with the channels that the model was trained with"
    group.add_argument("--input", type=existing, required=True, metavar="PATH", help=text)
    group.add_argument(
        "--normal", type=existing, metavar="PATH", help="another table, known to be normal"
    )


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print a line for each window."""
    args, config = trained.args, trained.config
    schema = read_schema(trained.folder)
    model = trained.load(lambda: Model(trained.model), getattr(torch, config.dtype))
    windows = judged(model, args.input, schema, config.batch_size)
    limit = None
    if args.normal:
        # Errors have no scale of their own: only normal windows show which errors are large.
        normal = judged(model, args.normal, schema, config.batch_size)
        limit = float(np.quantile(normal, config.quantile))

    # The output is CSV, so that spreadsheets and scripts can read it.
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["first", "last", "error", *(["anomaly"] if limit is not None else [])])
    for index, error in enumerate(windows):
        # Rows count from 1, as spreadsheets number them.
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
        "batch_size": Setting("windows scored at once"),
        "quantile": Setting("quantile of normal errors above which a window is anomalous", float),
        "dtype": Setting("format of weights and arithmetic", str, ("bfloat16", "float32")),
    },
)

if __name__ == "__main__":
    run(main)
