"""Score how a checkpoint ranks the windows of the test split, next to two simple rankings.

    python eval.py                         the checkpoint that train.py wrote to `out`
    python eval.py --data sensors.csv      a checkpoint that was trained on your channels

The larger the reconstruction error of a window, the more anomalous it is. Prints JSON on stdout,
and keeps it in OUT/scores.json. No other script reads the test split.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data import Config as DataConfig
from data import Dataset, Starts, batches, load_dataset
from model import Config as ModelConfig
from model import Model, errors
from runtime.columns import read_schema
from runtime.errors import fail, run
from runtime.ranks import average_precision, precision_curve, roc_auc
from runtime.report import Report, metric
from runtime.scores import Mean, Samples, Score
from runtime.scripts import Setting, Trained, scoring

Scores = NDArray[np.float64]
# More points per curve make the report longer and look the same on paper.
MOST_POINTS = 150


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 1024
    """Windows scored at once."""


@torch.no_grad()
def neural(
    model: Model, dataset: Dataset, starts: Starts, size: int, device: torch.device
) -> Scores:
    """Return the reconstruction error of each window."""
    # The windows are scored in batches, because all of them at once may not fit on the device.
    # Only the network runs on the device; the comparison with its input is cheap.
    # Errors stay in float32 on the CPU, and become float64 only for the sums of the metrics.
    parts = [errors(x, model(x.to(device)).cpu()) for x in batches(dataset, starts, size)]
    return np.asarray(torch.cat(parts).double().numpy())


# A threshold on single values is what an engineer would set without a model, so it is the baseline
# to beat.
def largest_deviation(dataset: Dataset, starts: Starts, size: int) -> Scores:
    """Return each window's largest distance from its channel's mean, in standard deviations."""
    # Values are standardized, so their size is the distance; a missing one counts as the mean.
    parts = [x.nan_to_num().abs().flatten(1).amax(1) for x in batches(dataset, starts, size)]
    return np.asarray(torch.cat(parts).double().numpy())  # (windows,)


def metrics(own: Scores, deviations: Scores, truth: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Return average precision and the area under the ROC curve, with their baselines."""
    name = "largest deviation"
    # A random order has the share of anomalous windows as its precision at every threshold.
    precision: dict[str, Score | float] = {
        name: average_precision(deviations, truth),
        "random": Mean(truth),
    }
    area: dict[str, Score | float] = {name: roc_auc(deviations, truth), "random": 0.5}
    rows = (
        ("average_precision", "average precision", average_precision(own, truth), precision),
        ("roc_auc", "ROC AUC", roc_auc(own, truth), area),
    )
    samples = Samples("windows", len(truth))
    return [
        metric(name, "share", score, baselines, samples, title=title, higher_is_better=True)
        for name, title, score, baselines in rows
    ]


def picture(own: Scores, deviations: Scores, truth: NDArray[np.bool_]) -> dict[str, Any]:
    """Return precision over recall of both rankings."""

    def line(name: str, scores: Scores, style: str) -> dict[str, Any]:
        recall, precision = precision_curve(scores, truth, np.ones(len(truth)))
        # A curve has a point for each different score; equal distances in recall look the same.
        at = np.unique(
            np.searchsorted(recall, np.linspace(0, 1, MOST_POINTS)).clip(max=len(recall) - 1)
        )
        x, y = ([round(float(v), 4) for v in values[at]] for values in (recall, precision))
        return {"name": name, "x": x, "y": y, "style": style}

    lines = [line("proxy", own, "line"), line("largest deviation", deviations, "dashed")]
    return {"kind": "lines", "x": "recall (share)", "y": "precision (share)", "series": lines}


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint on the windows of the test split."""
    size, schema = trained.config.batch_size, read_schema(trained.folder)
    dataset = load_dataset(trained.data, trained.args.data, schema.target["name"], trained.model)
    # Windows are standardized by the training split; another table would shift every error.
    trained.check_data(schema, dataset.schema, dataset.name, "steps")
    # Test windows lie side by side, so that no step is scored twice.
    starts = dataset.starts("test", dataset.window)
    truth = dataset.labels(starts)
    # Precision and ROC need both kinds of windows: with one kind, the metrics are undefined.
    if truth.all() or not truth.any():
        fail(
            f"{dataset.name} needs normal and anomalous windows in its test split, by a column "
            f"{schema.target['name']!r} of 0 and 1: use a longer table, or raise test_fraction."
        )
    model = trained.load(lambda: Model(trained.model))
    # Both methods score the same windows in the same order.
    own = neural(model, dataset, starts, size, trained.device)
    deviations = largest_deviation(dataset, starts, size)
    return Report(
        dataset.name,
        dataset.sha256,
        len(truth),
        metrics(own, deviations, truth),
        picture(own, deviations, truth),
        n_unit="windows",
    )


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: the bundled readings)",
    settings={"batch_size": Setting("windows scored at once")},
)

if __name__ == "__main__":
    run(main)
