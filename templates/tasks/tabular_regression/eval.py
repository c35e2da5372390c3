"""Score a checkpoint's predictions on the test split, beside their mean and ridge regression.

    python eval.py                        the checkpoint that train.py left in `out`
    python eval.py --data table.csv       a checkpoint that was trained on your table

As a small test split says little, a small table is cross-validated too: for each fold of each
repeat, a network is trained on the other rows as the checkpoint was, and scored on the fold.
Prints JSON on stdout. No other script reads the test split.
"""

import argparse
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from data import Config as DataConfig
from data import encoded, load_rows
from model import Config as ModelConfig
from model import Model
from runtime.checkpoint import find_checkpoint, load_model
from runtime.columns import Rows, Table, design, folds_of, parts_of, read_schema
from runtime.crossval import as_trained, trained
from runtime.device import choose_device
from runtime.errors import fail, run
from runtime.options import shared_options, sized
from runtime.report import Report, metric, print_report
from runtime.settings import load_config
from train import Config as TrainConfig
from train import task_of

Predictions = dict[str, NDArray[np.float64]]
MODEL, TRUTH = "model", "truth"
MOST_POINTS = 400  # of the picture


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 1024
    """Rows scored at once."""
    penalty: float = 1.0
    """Weight of the squared coefficients of ridge regression."""
    folds: int = 5
    """Parts of a cross-validation."""
    repeats: int = 2
    """Cross-validations, each with parts of its own; 0 for none."""
    most_rows: int = 2000
    """Rows of the largest table that is cross-validated."""
    baseline_rows: int = 100000
    """Training rows that a baseline is fitted on, at most."""


@torch.no_grad()
def neural(model: nn.Module, table: Table, size: int) -> NDArray[np.float64]:
    """Return the network's predictions of the test rows, as targets are counted."""
    device = next(model.parameters()).device
    batches = table.batches("test", size)
    found = [model(n.to(device), c.to(device))[:, 0].double().cpu() for n, c, _ in batches]
    return np.asarray(torch.cat(found).numpy())


def ridge(table: Table, model: ModelConfig, config: Config) -> NDArray[np.float64]:
    """Return predictions of the test rows by least squares with a penalty, fitted on training rows.

    (X^T X + penalty I)^-1 X^T y, with targets that have a mean of 0 and so no intercept.
    """
    train = table.rows(table.parts["train"][: config.baseline_rows])
    test = table.rows(table.parts["test"])
    x = design(train, model)
    x, at = x - (mean := x.mean(0)), design(test, model)
    normal = x.T @ x + config.penalty * np.eye(x.shape[1])
    weights = np.linalg.solve(normal, x.T @ train[2].double().numpy())
    return np.asarray((at - mean) @ weights)


def predictions(
    network: nn.Module, table: Table, rows: Rows, model: ModelConfig, config: Config
) -> Predictions:
    """Return the truth of the test rows, and what each method says, in the target's unit."""
    mean, std = table.schema.target["mean"], table.schema.target["std"]
    count = len(table.parts["test"])
    found = {
        MODEL: neural(network, table, config.batch_size),
        "mean": np.zeros(count),
        "ridge regression": ridge(table, model, config),
    }
    truth = rows.values[table.parts["test"]]
    return {name: values * std + mean for name, values in found.items()} | {TRUTH: truth}


def metrics(found: Predictions, suffix: str, unit: str) -> list[dict[str, Any]]:
    """Return the root mean squared error and R2 of each method beside those of the baselines."""
    truth, count = found[TRUTH], len(found[TRUTH])
    squares = {n: float(np.mean((v - truth) ** 2)) for n, v in found.items() if n != TRUTH}
    variance = float(truth.var()) or 1.0
    roots = {name: square**0.5 for name, square in squares.items()}
    shares = {name: 1 - square / variance for name, square in squares.items()}
    value, share = roots.pop(MODEL), shares.pop(MODEL)
    return [
        metric(
            f"{name}{suffix}",
            counted,
            own,
            rest,
            title=f"{title}{suffix.replace('_', ' ')}",
            higher_is_better=higher,
            n=count,
        )
        for name, title, counted, own, rest, higher in (
            ("rmse", "RMSE", unit, value, roots, False),
            ("r2", "R²", "share of variance", share, shares, True),
        )
    ]


def picture(found: Predictions, target: str) -> dict[str, Any]:
    """Return predictions over truth, for some rows."""
    some = slice(None, None, max(1, len(found[TRUTH]) // MOST_POINTS))
    x, y = ([round(float(value), 4) for value in found[each][some]] for each in (TRUTH, MODEL))
    points = {"name": "rows that it was not trained on", "x": x, "y": y, "style": "points"}
    return {
        "kind": "lines",
        "x": f"{target}, truth",
        "y": f"{target}, prediction",
        "series": [points],
        "diagonal": True,
    }


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "eval", "proxy"), Config()
    return shared_options(
        __doc__,
        data="what train.py was given (default: the bundled table)",
        batch_size=f"rows scored at once {sized(proxy, full, 'batch_size')}",
    ).parse_args()


def main() -> None:
    """Print the scores of a checkpoint."""
    args = command_line()
    device = choose_device(args.device, args.threads)
    config = load_config(Config, "eval", args.size)
    data = load_config(DataConfig, "data", args.size)
    config = replace(config, batch_size=args.batch_size or config.batch_size)
    model_config = load_config(ModelConfig, "model", args.size)
    folder = find_checkpoint(args.checkpoint or args.out / "checkpoint")
    schema = read_schema(folder)
    rows = load_rows(args.data, schema.target["name"] if args.data else None)
    table = encoded(rows, parts_of(rows, data.val_fraction, data.test_fraction), model_config)
    if table.schema != schema:
        fail(f"{folder} was trained on other rows than {rows.name} has: give the same --data.")
    network = load_model(lambda: Model(model_config), folder).to(device)
    found = predictions(network, table, rows, model_config, config)
    scores = metrics(found, "", rows.target)
    if config.repeats and len(rows.values) <= config.most_rows:
        settings, steps = as_trained(load_config(TrainConfig, "train", args.size), folder)
        every = []
        for parts in folds_of(rows, data.val_fraction, config.folds, config.repeats):
            fold = encoded(rows, parts, model_config)
            one = trained(task_of(fold, settings, data, model_config), steps, device)
            every.append(predictions(one, fold, rows, model_config, config))
        found = {name: np.concatenate([each[name] for each in every]) for name in found}
        folds = metrics(found, "_cross_validated", rows.target)
        scores += [{**each, "split": "cross-validation"} for each in folds]
    figure = picture(found, rows.target)
    report = Report(rows.name, rows.sha256, len(table.parts["test"]), scores, figure)
    print_report(report, folder)


if __name__ == "__main__":
    run(main)
