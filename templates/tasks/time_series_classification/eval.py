"""Score a checkpoint on the test split, and compare with classifiers that need no network.

    python eval.py                         the checkpoint that train.py wrote to `out`
    python eval.py --data series.jsonl     a checkpoint that was trained on your series

Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from data import Config as DataConfig
from data import Dataset, Split, batches, fitted, load_series
from model import Config as ModelConfig
from model import Model
from runtime.classes import class_metrics, confusion
from runtime.errors import run
from runtime.labels import read_labels, untested
from runtime.report import Report
from runtime.scores import Samples
from runtime.scripts import Setting, Trained, scoring

LENGTHS = (7, 9, 11)  # steps of a random kernel (Dempster et al., 2020, section 3)
PENALTIES = torch.logspace(-3, 3, 10, dtype=torch.float64)
Labels = NDArray[np.int64]  # (series,)


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 256
    """Series scored at once."""
    baseline_series: int = 10000
    """Training series above which the majority is the only baseline."""
    baseline_kernels: int = 500
    """Random kernels of a baseline; each gives two features of a series."""


@torch.no_grad()
def predict(model: Model, split: Split, size: int, device: torch.device) -> Labels:
    """Return the likeliest class of each series of a split."""
    parts = [model(series.to(device)).argmax(1).cpu() for series, _ in batches(split, size)]
    return np.asarray(torch.cat(parts).numpy())


def baselines(data: Dataset, config: Config, seed: int) -> Iterator[tuple[str, Labels]]:
    """Yield simpler classifiers: their names, and classes of the test split.

    `1-NN` takes the class of the nearest training series; `random kernels` is a ridge classifier on
    what hundreds of random convolutions find in a series, which is hard to beat.
    """
    train, test = data.splits["train"], data.splits["test"]
    counts = torch.bincount(train.targets, minlength=len(data.labels))
    yield "majority", np.full(len(test.targets), int(counts.argmax()))
    # Both compare with every training series, so their cost grows with the data.
    if len(train.targets) > config.baseline_series:
        return
    known, new = (standardized(each.series) for each in (train, test))
    nearest = torch.cdist(new.flatten(1), known.flatten(1)).argmin(1)
    yield "1-NN", train.targets[nearest].numpy()
    kernels = random_kernels(config.baseline_kernels, known.size(1), known.size(2), seed)
    known, new = (torch.cat([kernel(each) for kernel in kernels], 1) for each in (known, new))
    yield "random kernels", ridge_classes(known, new, train.targets, len(data.labels)).numpy()


def standardized(series: Tensor) -> Tensor:
    """Return each channel of series (N, C, L) without its level and its scale."""
    std, mean = torch.std_mean(series, dim=2, correction=0, keepdim=True)
    return (series - mean) / std.clamp_min(1e-8)


def random_kernels(
    count: int, channels: int, steps: int, seed: int
) -> list[Callable[[Tensor], Tensor]]:
    """Return functions from series (N, C, L) to features (N, 2), each of one random convolution.

    The features are the largest value and the share of positive ones, as in ROCKET (Dempster et
    al., 2020, arXiv:1910.13051): weights and biases are random, and so is the dilation.
    """
    draw = torch.Generator().manual_seed(seed)

    def kernel() -> Callable[[Tensor], Tensor]:
        length = LENGTHS[int(torch.randint(len(LENGTHS), (), generator=draw))]
        length = min(length, steps)
        weight = torch.randn(1, channels, length, generator=draw)
        weight -= weight.mean(2, keepdim=True)
        bias = 2 * torch.rand(1, generator=draw) - 1
        # Dilations are even on a logarithmic scale, up to that which spans the series.
        most = np.log2(max(1, (steps - 1) // max(1, length - 1)))
        dilation = int(2 ** (float(torch.rand((), generator=draw)) * most))
        padding = (length - 1) * dilation // 2 * int(torch.randint(2, (), generator=draw))

        def features(series: Tensor) -> Tensor:
            found = F.conv1d(series, weight, bias, padding=padding, dilation=dilation)[:, 0]
            return torch.stack([found.amax(1), (found > 0).float().mean(1)], 1)

        return features

    return [kernel() for _ in range(count)]


def ridge_classes(known: Tensor, new: Tensor, targets: Tensor, classes: int) -> Tensor:
    """Return the classes of new rows by ridge regression on -1 and 1 for each class.

    The penalty is the one with the least leave-one-out error on the known rows.
    """
    known, new = known.double(), new.double()
    mean, std = known.mean(0), known.std(0).clamp_min(1e-8)
    x, other = (known - mean) / std, (new - mean) / std
    y = 2.0 * F.one_hot(targets, classes).double() - 1
    level = y.mean(0)
    u, s, vt = torch.linalg.svd(x, full_matrices=False)
    uy = u.T @ (y - level)  # (R, K)

    def error(penalty: Tensor) -> float:
        share = s**2 / (s**2 + penalty)
        # A residual over 1 - h is that of a fit without its row (h: what the row adds to itself).
        rest = (y - level - (u * share) @ uy) / (
            1 - (u**2 * share).sum(1, keepdim=True) - 1 / len(x)
        ).clamp_min(1e-9)
        return float(rest.square().mean())

    best = min(PENALTIES, key=error)
    weights = vt.T @ ((s / (s**2 + best))[:, None] * uy)
    classes_of: Tensor = (other @ weights + level).argmax(1)
    return classes_of


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint on the series of the test split."""
    config = trained.config
    data = load_series(trained.data, trained.args.data, trained.model)
    # A class is a position in the list of labels, so another list would mix the classes up.
    trained.check_data(read_labels(trained.folder), data.labels, data.name, "classes")
    model_config = fitted(trained.model, data.channels, data.labels, trained.args.size)
    model = trained.load(lambda: Model(model_config))
    test = data.splits["test"]
    truth = np.asarray(test.targets.numpy())
    predicted = predict(model, test, config.batch_size, trained.device)
    simple = dict(baselines(data, config, seed=0))
    return Report(
        data.name,
        data.sha256,
        len(truth),
        class_metrics(truth, predicted, simple, Samples("series", len(truth))),
        confusion(predicted, truth, data.labels),
        n_unit="series",
        untested=untested(data.labels, truth.tolist()),
    )


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: outlines of leaves)",
    settings={"batch_size": Setting("series scored at once")},
)

if __name__ == "__main__":
    run(main)
