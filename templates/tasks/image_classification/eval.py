"""Score a checkpoint on the test split, beside simple classifiers of the same training images.

    python eval.py                      the checkpoint that train.py left in `out`
    python eval.py --data my_images     one that was trained on your folder

Prints JSON on stdout. No other script reads the test split.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from data import Config as DataConfig
from data import Images, Split, batches, fitted, load_images, read_labels
from model import Config as ModelConfig
from model import Model
from runtime.checkpoint import find_checkpoint, load_model
from runtime.device import choose_device
from runtime.errors import fail, run
from runtime.options import shared_options, sized
from runtime.report import metric, print_report
from runtime.settings import load_config

SHOWN_CLASSES = 20  # in the confusion matrix


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 256
    """Images scored at once."""
    baseline_side: int = 16
    """Pixels along each side of the images that the baselines see."""
    baseline_images: int = 20000
    """Largest training split on which baselines other than the majority are fitted."""


@torch.no_grad()
def predict(
    model: Model, split: Split, config: Config, data: DataConfig, device: torch.device
) -> Tensor:
    """Return log p of each class for each image of a split: (N, K), float64."""
    found = []
    for images, _ in batches(split, config.batch_size, data):
        found.append(model(images.to(device)).double().log_softmax(-1).cpu())
    return torch.cat(found)


def baselines(
    images: Images, load_small: Callable[[], Images], config: Config
) -> Iterator[tuple[str, Tensor]]:
    """Yield the name and log p (N, K) on the test split of simpler classifiers.

    `majority` knows how frequent the classes are; `logistic regression` and `1-NN` see the pixels
    of the same images at a small size, and only a training split that is not too large.
    """
    classes, targets = len(images.labels), images.splits["train"].targets
    shares = torch.bincount(targets, minlength=classes).double() / len(targets)
    yield "majority", shares.log().expand(len(images.splits["test"].targets), -1)
    if len(targets) > config.baseline_images:
        return
    small = load_small()
    known, asked = (flat_pixels(small.splits[split], config) for split in ("train", "test"))
    yield "logistic regression", logistic_regression(known, targets, classes, asked)
    nearest = targets[torch.cdist(asked, known).argmin(1)]
    yield "1-NN", F.one_hot(nearest, classes).double().log()


def flat_pixels(split: Split, config: Config) -> Tensor:
    """Return the pixels of a split, from 0 to 1, in one row each: (N, D), float64."""
    total = len(split.targets)
    starts = range(0, total, config.batch_size)
    parts = [split.pixels[list(range(s, min(s + config.batch_size, total)))] for s in starts]
    return torch.cat(parts).flatten(1).double() / 255


def logistic_regression(x: Tensor, y: Tensor, classes: int, asked: Tensor) -> Tensor:
    """Return log p (M, K) of rows (M, D) by a model fitted to rows x (N, D) of classes y (N,).

    It minimizes the summed cross-entropy + |w|^2 / 2 by L-BFGS, on standardized columns.
    """
    mean, std = x.mean(0), x.std(0).clamp_min(1e-6)
    x, asked = (x - mean) / std, (asked - mean) / std
    weight = torch.zeros(x.size(1), classes, dtype=x.dtype, requires_grad=True)
    bias = torch.zeros(classes, dtype=x.dtype, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=300, history_size=10, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        solver.zero_grad()
        value = F.cross_entropy(x @ weight + bias, y, reduction="sum") + weight.square().sum() / 2
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(loss)  # type: ignore[no-untyped-call]
    return (asked @ weight + bias).detach().log_softmax(-1)


def accuracy(scores: Tensor, targets: Tensor) -> float:
    """Return the share of images whose class has the highest score."""
    return float((scores.argmax(-1) == targets).double().mean())


def macro_f1(scores: Tensor, targets: Tensor) -> float:
    """Return the mean over classes of 2 TP / (2 TP + FP + FN); classes not in the split are out."""
    table = confusion(scores, targets)
    hits, found, given = table.diagonal(), table.sum(0), table.sum(1)
    here = given > 0
    return float((2 * hits / (found + given).clamp_min(1))[here].mean())


def confusion(scores: Tensor, targets: Tensor) -> Tensor:
    """Return how many images of a class (row) were taken for a class (column): (K, K)."""
    classes = scores.size(-1)
    cells = torch.bincount(targets * classes + scores.argmax(-1), minlength=classes**2)
    return cells.reshape(classes, classes).double()


def log_loss(scores: Tensor, targets: Tensor) -> float:
    """Return the mean of -log p of the true class, in nats."""
    return F.nll_loss(scores, targets).item()


def metrics(scores: Tensor, targets: Tensor, simple: dict[str, Tensor]) -> list[dict[str, Any]]:
    """Return accuracy, macro F1 and log loss of log p (N, K), beside those of simpler classifiers.

    A baseline that gives a true class no probability at all has no log loss.
    """
    losses = {name: log_loss(each, targets) for name, each in simple.items()}
    finite = {name: value for name, value in losses.items() if value < float("inf")}
    accuracies = {name: accuracy(each, targets) for name, each in simple.items()}
    f1s = {name: macro_f1(each, targets) for name, each in simple.items()}
    loss = log_loss(scores, targets)
    return [
        metric("accuracy", "share", accuracy(scores, targets), accuracies, higher_is_better=True),
        metric("macro_f1", "share", macro_f1(scores, targets), f1s, higher_is_better=True),
        metric("log_loss", "nat/image", loss, finite, higher_is_better=False),
    ]


def figure(scores: Tensor, images: Images) -> dict[str, Any]:
    """Return the confusion matrix of the most frequent classes."""
    targets = images.splits["test"].targets
    counts = torch.bincount(targets, minlength=len(images.labels))
    shown = counts.argsort(descending=True, stable=True)[:SHOWN_CLASSES].sort().values
    return {
        "kind": "matrix",
        "labels": [images.labels[number] for number in shown],
        "values": confusion(scores, targets)[shown][:, shown].long().tolist(),
        "x": "predicted",
        "y": "true",
    }


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "eval", "proxy"), Config()
    return shared_options(
        __doc__,
        data="what train.py was given (default: bundled digits)",
        batch_size=f"images scored at once {sized(proxy, full, 'batch_size')}",
    ).parse_args()


def main() -> None:
    """Print the scores of a checkpoint."""
    args = command_line()
    device = choose_device(args.device, args.threads)
    config = load_config(Config, "eval", args.size)
    if args.batch_size:
        config = replace(config, batch_size=args.batch_size)
    data_config = load_config(DataConfig, "data", args.size)
    model_config = load_config(ModelConfig, "model", args.size)
    folder = find_checkpoint(args.checkpoint or args.out / "checkpoint")
    images = load_images(data_config, args.data, model_config)
    if read_labels(folder) != images.labels:
        fail(f"{folder} was trained on other classes than those of {images.name}: give its --data.")
    model_config = fitted(model_config, images.labels, args.size)
    model = load_model(lambda: Model(model_config), folder).to(device)
    test, side = images.splits["test"], config.baseline_side
    small = replace(model_config, image_height=side, image_width=side)
    simple = dict(baselines(images, lambda: load_images(data_config, args.data, small), config))
    scores = predict(model, test, config, data_config, device)
    print_report(
        images.name,
        images.sha256,
        len(test.targets),
        metrics(scores, test.targets, simple),
        folder,
        figure(scores, images),
    )


if __name__ == "__main__":
    run(main)
