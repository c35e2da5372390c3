"""Score a checkpoint's classes on the test split, beside the commonest and logistic regression.

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
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from data import Config as DataConfig
from data import encoded, load_rows
from model import Config as ModelConfig
from model import Model
from runtime.checkpoint import find_checkpoint, load_model
from runtime.columns import Table, design, folds_of, parts_of, read_schema
from runtime.crossval import as_trained, trained
from runtime.device import choose_device
from runtime.errors import fail, run
from runtime.options import shared_options, sized
from runtime.report import Report, metric, print_report
from runtime.settings import load_config
from train import Config as TrainConfig
from train import task_of

Predictions = dict[str, NDArray[np.int64]]
MODEL, TRUTH = "model", "truth"
MOST_LABELS = 20  # of the picture


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 1024
    """Rows scored at once."""
    penalty: float = 1.0
    """Weight of half the squared coefficients of logistic regression."""
    folds: int = 5
    """Parts of a cross-validation."""
    repeats: int = 2
    """Cross-validations, each with parts of its own; 0 for none."""
    most_rows: int = 2000
    """Rows of the largest table that is cross-validated."""
    baseline_rows: int = 100000
    """Training rows that a baseline is fitted on, at most."""


@torch.no_grad()
def neural(model: nn.Module, table: Table, size: int) -> NDArray[np.int64]:
    """Return the network's class of each test row."""
    device, count = next(model.parameters()).device, len(table.schema.target["classes"])
    batches = table.batches("test", size)
    found = [model(n.to(device), c.to(device))[:, :count].argmax(1).cpu() for n, c, _ in batches]
    return np.asarray(torch.cat(found).numpy())


def logistic(table: Table, model: ModelConfig, config: Config) -> NDArray[np.int64]:
    """Return the class of each test row by logistic regression, fitted on training rows.

    Its loss is the sum of cross-entropies and penalty / 2 times the sum of squared coefficients.
    """
    train = table.rows(table.parts["train"][: config.baseline_rows])
    test = table.rows(table.parts["test"])
    x, y = torch.from_numpy(design(train, model)), train[2]
    weights = torch.zeros(x.shape[1], len(table.schema.target["classes"]), dtype=torch.float64)
    bias = torch.zeros(weights.shape[1], dtype=torch.float64)
    parameters = [weights.requires_grad_(), bias.requires_grad_()]
    search = torch.optim.LBFGS(parameters, max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        entropy = F.cross_entropy(x @ weights + bias, y, reduction="sum")
        total = entropy + config.penalty / 2 * (weights**2).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    search.step(loss)  # type: ignore[no-untyped-call]
    scores = torch.from_numpy(design(test, model)) @ weights + bias
    return np.asarray(scores.argmax(1).numpy())


def predictions(
    network: nn.Module, table: Table, model: ModelConfig, config: Config
) -> Predictions:
    """Return the classes of the test rows, and what each method says."""
    train, test = (table.rows(table.parts[split])[2] for split in ("train", "test"))
    return {
        MODEL: neural(network, table, config.batch_size),
        "commonest class": np.full(len(test), int(train.mode().values)),
        "logistic regression": logistic(table, model, config),
        TRUTH: test.numpy(),
    }


def macro_f1(truth: NDArray[np.int64], found: NDArray[np.int64]) -> float:
    """Return the mean over classes of 2 tp / (2 tp + fp + fn)."""
    scores = []
    for each in np.union1d(truth, found):
        hits = np.sum((truth == each) & (found == each))
        scores.append(2 * hits / (np.sum(truth == each) + np.sum(found == each)))
    return float(np.mean(scores))


def metrics(found: Predictions, suffix: str) -> list[dict[str, Any]]:
    """Return accuracy and macro F1 of the network beside those of the baselines."""
    truth, count = found[TRUTH], len(found[TRUTH])
    methods = {name: classes for name, classes in found.items() if name != TRUTH}
    shares = {name: float(np.mean(classes == truth)) for name, classes in methods.items()}
    scores = {name: macro_f1(truth, classes) for name, classes in methods.items()}
    share, score = shares.pop(MODEL), scores.pop(MODEL)
    return [
        metric(
            f"{name}{suffix}",
            "share",
            value,
            rest,
            title=f"{title}{suffix.replace('_', ' ')}",
            higher_is_better=True,
            n=count,
        )
        for name, title, value, rest in (
            ("accuracy", "accuracy", share, shares),
            ("macro_f1", "macro F1", score, scores),
        )
    ]


def picture(found: Predictions, classes: list[str]) -> dict[str, Any]:
    """Return the confusion matrix: how many rows of a class are taken for another."""
    labels = classes[:MOST_LABELS]
    counts = [
        [int(np.sum((found[TRUTH] == y) & (found[MODEL] == x))) for x in range(len(labels))]
        for y in range(len(labels))
    ]
    return {"kind": "matrix", "labels": labels, "values": counts, "x": "predicted", "y": "true"}


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
    found = predictions(network, table, model_config, config)
    scores = metrics(found, "")
    if config.repeats and len(rows.values) <= config.most_rows:
        settings, steps = as_trained(load_config(TrainConfig, "train", args.size), folder)
        every = []
        for parts in folds_of(rows, data.val_fraction, config.folds, config.repeats):
            fold = encoded(rows, parts, model_config)
            one = trained(task_of(fold, settings, data, model_config), steps, device)
            every.append(predictions(one, fold, model_config, config))
        found = {name: np.concatenate([each[name] for each in every]) for name in found}
        folds = metrics(found, "_cross_validated")
        scores += [{**each, "split": "cross-validation"} for each in folds]
    figure = picture(found, schema.target["classes"])
    report = Report(rows.name, rows.sha256, len(table.parts["test"]), scores, figure)
    print_report(report, folder)


if __name__ == "__main__":
    run(main)
