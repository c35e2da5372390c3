"""Score how a checkpoint ranks windows of the test split, beside two simple rankings.

    python eval.py                         the checkpoint that train.py left in `out`
    python eval.py --data sensors.csv      a checkpoint that was trained on your channels

A window is the more anomalous, the worse it is reconstructed. Prints JSON on stdout. No other
script reads the test split.
"""

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data import Config as DataConfig
from data import Dataset, Starts, batches, load_dataset
from model import Config as ModelConfig
from model import Model, errors
from runtime.checkpoint import find_checkpoint, load_model
from runtime.columns import read_schema
from runtime.device import choose_device
from runtime.errors import fail, run
from runtime.options import shared_options, sized
from runtime.report import metric, print_report
from runtime.settings import load_config

Scores = NDArray[np.float64]
MOST_POINTS = 150  # of a line of the picture


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 1024
    """Windows scored at once."""


@torch.no_grad()
def neural(
    model: Model, dataset: Dataset, starts: Starts, size: int, device: torch.device
) -> Scores:
    """Return the error of reconstruction of each window."""
    found = [errors(x, model(x.to(device)).cpu()) for x in batches(dataset, starts, size)]
    return np.asarray(torch.cat(found).double().numpy())


def largest_deviation(dataset: Dataset, starts: Starts, size: int) -> Scores:
    """Return the largest distance of a window's values from their channel's mean, in deviations."""
    found = [x.nan_to_num().abs().flatten(1).amax(1) for x in batches(dataset, starts, size)]
    return np.asarray(torch.cat(found).double().numpy())


def curve(scores: Scores, truth: NDArray[np.bool_]) -> tuple[Scores, Scores]:
    """Return recall and precision where the windows above each different score are taken."""
    order = np.argsort(-scores, kind="stable")
    hits, taken = np.cumsum(truth[order]), np.arange(1, len(order) + 1)
    last = np.append(np.diff(scores[order]) != 0, True)  # equal scores are taken together
    return hits[last] / truth.sum(), hits[last] / taken[last]


def average_precision(scores: Scores, truth: NDArray[np.bool_]) -> float:
    """Return the sum of precision * (rise of recall) over the scores, from the highest down."""
    recall, precision = curve(scores, truth)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def roc_auc(scores: Scores, truth: NDArray[np.bool_]) -> float:
    """Return the share of pairs in which the anomalous window has the higher score; ties are half.

    It follows from the ranks (Mann & Whitney, 1947).
    """
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # equal scores share their mean rank
    positive = int(truth.sum())
    negative = len(truth) - positive
    return float((ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))


def metrics(found: Scores, deviations: Scores, truth: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Return average precision and the area under the ROC curve beside their baselines."""
    name = "largest deviation"
    precision = {name: average_precision(deviations, truth), "random": float(truth.mean())}
    area = {name: roc_auc(deviations, truth), "random": 0.5}
    scores = (
        ("average_precision", average_precision(found, truth), precision),
        ("roc_auc", roc_auc(found, truth), area),
    )
    return [metric(n, "share", v, base, higher_is_better=True) for n, v, base in scores]


def picture(found: Scores, deviations: Scores, truth: NDArray[np.bool_]) -> dict[str, Any]:
    """Return precision over recall of both rankings."""

    def line(name: str, scores: Scores, style: str) -> dict[str, Any]:
        recall, precision = curve(scores, truth)
        at = np.unique(
            np.searchsorted(recall, np.linspace(0, 1, MOST_POINTS)).clip(max=len(recall) - 1)
        )
        x, y = ([round(float(v), 4) for v in values[at]] for values in (recall, precision))
        return {"name": name, "x": x, "y": y, "style": style}

    lines = [line("model", found, "line"), line("largest deviation", deviations, "dashed")]
    return {"kind": "lines", "x": "recall (share)", "y": "precision (share)", "series": lines}


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "eval", "proxy"), Config()
    return shared_options(
        __doc__,
        data="what train.py was given (default: the bundled readings)",
        batch_size=f"windows scored at once {sized(proxy, full, 'batch_size')}",
    ).parse_args()


def main() -> None:
    """Print the scores of a checkpoint."""
    args = command_line()
    device = choose_device(args.device, args.threads)
    size = args.batch_size or load_config(Config, "eval", args.size).batch_size
    model_config = load_config(ModelConfig, "model", args.size)
    folder = find_checkpoint(args.checkpoint or args.out / "checkpoint")
    schema, data = read_schema(folder), load_config(DataConfig, "data", args.size)
    dataset = load_dataset(data, args.data, schema.target["name"], model_config)
    if dataset.schema != schema:
        fail(f"{folder} was trained on other steps than {dataset.name} has: give the same --data.")
    starts = dataset.starts("test", dataset.window)
    truth = dataset.labels(starts)
    if truth.all() or not truth.any():
        fail(
            f"{dataset.name} needs normal and anomalous windows in its test split, by a column "
            f"{schema.target['name']!r} of 0 and 1."
        )
    model = load_model(lambda: Model(model_config), folder).to(device)
    found = neural(model, dataset, starts, size, device)
    deviations = largest_deviation(dataset, starts, size)
    scores, figure = metrics(found, deviations, truth), picture(found, deviations, truth)
    print_report(dataset.name, dataset.sha256, len(truth), scores, folder, figure)


if __name__ == "__main__":
    run(main)
