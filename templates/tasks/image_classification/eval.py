"""Score a checkpoint on the test split, and compare with simple classifiers.

    python eval.py                      the checkpoint that train.py wrote to `out`
    python eval.py --data my_images     a checkpoint that was trained on your folder

Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from data import Config as DataConfig
from data import fitted, load_images
from model import Config as ModelConfig
from model import Model
from runtime.classes import macro_f1
from runtime.errors import run
from runtime.image_batches import Images, Split, batches
from runtime.labels import read_labels, untested
from runtime.linear import logistic_regression
from runtime.pixel_rows import flat_pixels, without_copies
from runtime.report import Report, metric
from runtime.scores import Mean, Samples, Score
from runtime.scripts import Setting, Trained, scoring

OWN = "model"
SHOWN_CLASSES = 20  # rows of the confusion matrix; labels of more would be illegible


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 256
    """Images scored at once."""
    baseline_side: int = 16
    """Height and width of images for the baselines, in pixels."""
    baseline_images: int = 20000
    """Training images above which the majority is the only baseline."""


@torch.no_grad()
def predict(
    model: Model, split: Split, config: Config, data: DataConfig, device: torch.device
) -> Tensor:
    """Return log p of each class for each image of a split: (N, K), float64."""
    parts = []
    for images, _ in batches(split, config.batch_size, data):
        # In float64, classifiers differ even if log probabilities are far below float32's
        # precision.
        parts.append(model(images.to(device)).double().log_softmax(-1).cpu())  # (B, K)
    return torch.cat(parts)


def baselines(
    images: Images, load_small: Callable[[], Images], config: Config
) -> Iterator[tuple[str, Tensor]]:
    """Yield simpler classifiers: their names, and log p (N, K) on the test split.

    `majority` predicts the share of each class. `logistic regression` and `1-NN` read the pixels of
    the same images, scaled down; a large training split omits both, because they would take
    longer than the model itself.
    """
    # Simple methods show how much of a score is due to easy data.
    classes, targets = len(images.labels), images.splits["train"].targets
    shares = torch.bincount(targets, minlength=classes).double() / len(targets)
    yield "majority", shares.log().expand(len(images.splits["test"].targets), -1)
    # 1-NN compares each test image with every training image, so its cost grows with both.
    if len(targets) > config.baseline_images:
        return
    # Small images are enough for methods that know no shapes, and keep distances cheap.
    small = load_small()
    both = [flat_pixels(small.splits[split], config.batch_size) for split in ("train", "test")]
    known, test = without_copies(both, small.splits["train"].pixels[[0]].size(1))
    # A network that cannot beat a linear model of pixels has learned no shapes.
    yield "logistic regression", logistic_regression(known, targets, classes, test)
    nearest = targets[torch.cdist(test, known).argmin(1)]
    # 1-NN is certain of its class, so every other class has log p = -inf.
    yield "1-NN", F.one_hot(nearest, classes).double().log()


def confusion(scores: Tensor, targets: Tensor) -> Tensor:
    """Return the number of images by true class (row) and predicted class (column): (K, K)."""
    classes = scores.size(-1)
    # One number per cell lets a single bincount fill the table.
    cells = torch.bincount(targets * classes + scores.argmax(-1), minlength=classes**2)
    return cells.reshape(classes, classes).double()


def log_losses(scores: Tensor, targets: Tensor) -> Tensor:
    """Return -log p of the true class of each image, in nats; their mean is the log loss."""
    return F.nll_loss(scores, targets, reduction="none")


def metrics(scores: Tensor, targets: Tensor, simple: dict[str, Tensor]) -> list[dict[str, Any]]:
    """Return accuracy, macro F1 and log loss of log p (N, K), beside those of simpler classifiers.

    A baseline that gives any true class a probability of 0 has an infinite log loss, which is
    not reported.
    """
    # A class without any training image makes the majority's log loss infinite as well.
    losses = {name: log_losses(each, targets) for name, each in {OWN: scores, **simple}.items()}
    finite = {name: Mean(each) for name, each in losses.items() if each.isfinite().all()}
    classes = {name: each.argmax(-1) for name, each in {OWN: scores, **simple}.items()}
    hits = {name: Mean(each == targets) for name, each in classes.items()}
    f1s = {name: macro_f1(targets, each) for name, each in classes.items()}
    # Accuracy favours frequent classes, macro F1 weighs all alike, and log loss rewards
    # calibration.
    rows: tuple[tuple[str, str, str, Mapping[str, Score], bool], ...] = (
        ("accuracy", "accuracy", "share", hits, True),
        ("macro_f1", "macro F1", "share", f1s, True),
        ("log_loss", "log loss", "nat/image", finite, False),
    )
    samples = Samples("images", len(targets))
    return [
        metric(
            name,
            unit,
            methods[OWN],
            {each: score for each, score in methods.items() if each != OWN},
            samples,
            title=title,
            higher_is_better=higher,
        )
        for name, title, unit, methods, higher in rows
    ]


def figure(scores: Tensor, images: Images) -> dict[str, Any]:
    """Return the confusion matrix of the most frequent classes."""
    targets = images.splits["test"].targets
    counts = torch.bincount(targets, minlength=len(images.labels))
    # Frequent classes have enough images to distinguish a pattern from chance.
    shown = counts.argsort(descending=True, stable=True)[:SHOWN_CLASSES].sort().values
    return {
        "kind": "matrix",
        "labels": [images.labels[number] for number in shown],
        "values": confusion(scores, targets)[shown][:, shown].long().tolist(),
        "x": "predicted",
        "y": "true",
    }


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint on the images of the test split."""
    config, data, path = trained.config, trained.data, trained.args.data
    images = load_images(data, path, trained.model)
    # A class is a position in the list of labels, so another list would mix the classes up.
    trained.check_data(read_labels(trained.folder), images.labels, images.name, "classes")
    model_config = fitted(trained.model, images.labels, trained.args.size)
    model = trained.load(lambda: Model(model_config))
    side = config.baseline_side
    # The folder is read again at the small size, so that each method scales the original images.
    small = replace(model_config, image_height=side, image_width=side)
    simple = dict(baselines(images, lambda: load_images(data, path, small), config))
    test = images.splits["test"]
    scores = predict(model, test, config, data, trained.device)
    return Report(
        images.name,
        images.sha256,
        len(test.targets),
        metrics(scores, test.targets, simple),
        figure(scores, images),
        n_unit="images",
        untested=untested(images.labels, test.targets.tolist()),
    )


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: bundled digits)",
    settings={"batch_size": Setting("images scored at once")},
)

if __name__ == "__main__":
    run(main)
