"""Score a checkpoint on the test split, and compare with classifiers that measure shapes.

    python eval.py                         the checkpoint that train.py wrote to `out`
    python eval.py --data clouds.jsonl     a checkpoint that was trained on your clouds

Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data import Config as DataConfig
from data import Dataset, Split, batches, fitted, load_clouds
from model import Config as ModelConfig
from model import Model
from runtime.classes import class_metrics, confusion
from runtime.errors import run
from runtime.forest import forest_shares
from runtime.labels import read_labels, untested
from runtime.linear import logistic_regression
from runtime.report import Report
from runtime.scores import Samples
from runtime.scripts import Setting, Trained, scoring

PAIRS = 2000  # pairs of points whose distances are counted
DISTANCES, RADII = (24, 4.0), (16, 2.5)  # bins, and the largest value that is counted
Labels = NDArray[np.int64]  # (clouds,)


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 64
    """Clouds scored at once."""
    baseline_clouds: int = 10000
    """Training clouds above which the majority is the only baseline."""
    baseline_trees: int = 100
    """Trees of a random forest."""


@torch.no_grad()
def predict(model: Model, split: Split, size: int, device: torch.device) -> Labels:
    """Return the likeliest class of each cloud."""
    parts = [model(clouds.to(device)).argmax(1).cpu() for clouds, _ in batches(split, size)]
    return np.asarray(torch.cat(parts).numpy())


def extents(clouds: Tensor) -> Tensor:
    """Return how far clouds extend along their own axes, (N, 6): which no turn changes.

    These are the eigenvalues of their covariance, ascending, and the ratios of these.
    """
    covariance = clouds.transpose(1, 2) @ clouds / clouds.size(1)
    values = torch.linalg.eigvalsh(covariance).clamp_min(1e-9)
    a, b, c = values.unbind(1)
    return torch.cat([values, torch.stack([a / b, b / c, a / c], 1)], 1)


def described(clouds: Tensor) -> Tensor:
    """Return a description of each cloud that no turn changes, (N, columns), float64.

    Extents, and counts of the distances between pairs of points (Osada et al., 2002) and of points
    from the middle.
    """
    clouds = clouds.double()
    generator = torch.Generator().manual_seed(0)
    pairs = torch.randint(clouds.size(1), (2, PAIRS), generator=generator)
    apart = (clouds[:, pairs[0]] - clouds[:, pairs[1]]).norm(dim=2)
    counts = [counted(apart, *DISTANCES), counted(clouds.norm(dim=2), *RADII)]
    return torch.cat([extents(clouds), *counts], 1)


def counted(values: Tensor, bins: int, largest: float) -> Tensor:
    """Return the share of values (N, V) in each of some bins from 0 to the largest, (N, bins)."""
    places = (values / largest * bins).long().clamp_max(bins - 1)
    counts = torch.zeros(len(values), bins, dtype=torch.float64)
    return counts.scatter_add(1, places, torch.ones_like(counts[:, :1]).expand_as(places)) / (
        values.size(1)
    )


def baselines(data: Dataset, config: Config, seed: int) -> Iterator[tuple[str, Labels]]:
    """Yield simpler classifiers: their names, and the class of each test cloud.

    `majority` predicts the most frequent class. The others read what no turn changes: the extents
    of a cloud, or also how its points are apart.
    """
    train, test = data.splits["train"], data.splits["test"]
    shares = torch.bincount(train.targets, minlength=len(data.labels))
    yield "majority", np.full(len(test.targets), int(shares.argmax()))
    if len(train.targets) > config.baseline_clouds:
        return
    known, unknown = (described(each.clouds) for each in (train, test))
    for name, columns in (("extents", 6), ("extents and distances", known.size(1))):
        rows, others = known[:, :columns], unknown[:, :columns]
        logs = logistic_regression(rows, train.targets, len(data.labels), others)
        yield f"logistic regression, {name}", np.asarray(logs.argmax(1).numpy())
    forest = forest_shares(
        known.numpy(),
        train.targets.numpy(),
        len(data.labels),
        unknown.numpy(),
        config.baseline_trees,
        seed,
    )
    if forest is not None:
        yield "random forest, extents and distances", forest.argmax(1)


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint on the clouds of the test split."""
    config, size = trained.config, trained.args.size
    data = load_clouds(trained.data, trained.args.data, trained.model)
    # Classes are positions, so other data would mix them up.
    trained.check_data(read_labels(trained.folder), data.labels, data.name, "classes")
    model_config = fitted(trained.model, data.labels, size)
    model = trained.load(lambda: Model(model_config))
    test = data.splits["test"]
    truth = np.asarray(test.targets.numpy())
    own = predict(model, test, config.batch_size, trained.device)
    simple = dict(baselines(data, config, seed=0))
    return Report(
        data.name,
        data.sha256,
        len(truth),
        class_metrics(truth, own, simple, Samples("clouds", len(truth))),
        confusion(own, truth, data.labels),
        n_unit="clouds",
        untested=untested(data.labels, truth.tolist()),
    )


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: solids)",
    settings={"batch_size": Setting("clouds scored at once")},
)

if __name__ == "__main__":
    run(main)
