"""Score a checkpoint on the test split, and compare with a classifier of single pixels.

    python eval.py                                   the checkpoint that train.py wrote to `out`
    python eval.py --size full --data my_scans       the full model, on your images and masks

Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from data import Config as DataConfig
from data import Scenes, load_scenes
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.report import Report, metric
from runtime.scores import Samples, Score
from runtime.scripts import Setting, Trained, scoring

GREY_LEVELS = 256
FIGURE_ROWS = 2
FIGURE_SIDE = 40  # pixels of the longer side; the report grows with its square


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 8
    """Images scored at once."""
    baseline_images: int = 1000
    """Training images that fit the brightness baseline, taken from the start."""


def confusion(predicted: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Return the number of pixels by true class (row) and predicted class (column): (K, K)."""
    # Annotators mark unclear pixels as void, which is -1 here; scores ignore them.
    counts = truth >= 0
    pairs = truth[counts] * classes + predicted[counts]
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def areas(table: Tensor) -> Tensor:
    """Return |A & B|, |A| and |B| of each class in pixels, from its confusion table: (3, K)."""
    return torch.stack([table.diagonal(), table.sum(1), table.sum(0)])


def dice(sizes: Tensor) -> float:
    """Return the mean over foreground classes of 2 |A & B| / (|A| + |B|) (Dice, 1945).

    A and B are the pixels of a class in the truth and in the prediction. The mean omits
    the background, which is easy, and each class that is neither true nor predicted, because it
    has no overlap.
    """
    both, true, predicted = sizes[:, 1:].double()
    if not true.any():
        return math.nan
    present = true + predicted > 0
    shares = 2 * both[present] / (true + predicted)[present]
    return float(shares.mean())


def mean_iou(sizes: Tensor) -> float:
    """Return the mean over classes of |A & B| / |A or B|, background included (Jaccard, 1912).

    Masks of background alone give no score: every method that predicts nothing would be perfect.
    """
    # mIoU includes the background, as benchmarks of scenes do; Dice excludes it, as medical ones
    # do.
    both, true, predicted = sizes.double()
    if not true[1:].any():
        return math.nan
    # Common pixels are in both areas, so they are subtracted once.
    union = true + predicted - both
    present = union > 0
    return float((both[present] / union[present]).mean())


def grey_levels(images: Tensor) -> Tensor:
    """Return the brightness (B, H, W) of images (B, C, H, W), from 0 to 255."""
    return ((images.mean(1) + 1) * 127.5).round().long()


def classes_by_brightness(scenes: Scenes, config: Config, classes: int) -> Tensor:
    """Return the likeliest class of each brightness in the training split, shape (256,).

    This is the Bayes classifier of a pixel's brightness. A brightness that no training pixel has is
    background.
    """
    # Counts of pixels by brightness and class fit this classifier exactly, in one pass.
    table = torch.zeros(GREY_LEVELS, classes, dtype=torch.int64)
    count = min(config.baseline_images, len(scenes.splits["train"]))
    for start in range(0, count, config.batch_size):
        images, masks = scenes.batch("train", range(start, min(start + config.batch_size, count)))
        counted = masks >= 0
        pairs = grey_levels(images)[counted] * classes + masks[counted]
        table += torch.bincount(pairs, minlength=table.numel()).view_as(table)
    return table.argmax(1)


@torch.no_grad()
def score(
    model: Model, scenes: Scenes, config: Config, device: torch.device
) -> tuple[dict[str, Tensor], list[list[Any]]]:
    """Return the areas of each method by its name, (images, 3, K), and the rows of the figure."""
    classes, count = model.config.num_classes, len(scenes.splits["test"])
    # A network must beat brightness alone: scores near this baseline mean that it learned no
    # shapes.
    by_brightness = classes_by_brightness(scenes, config, classes)
    names = ("model", "all background", "brightness")
    sizes: dict[str, list[Tensor]] = {name: [] for name in names}
    # The figure shows the middle image of each equal part of the split.
    shown = {count * (2 * row + 1) // (2 * FIGURE_ROWS) for row in range(FIGURE_ROWS)}
    rows = []
    for start in range(0, count, config.batch_size):
        indices = range(start, min(start + config.batch_size, count))
        # Images are scored whole, even if training cuts crops: a user segments whole images.
        images, masks = scenes.batch("test", indices)
        predicted = model(images.to(device)).argmax(1).cpu()  # (B, H, W)
        guesses = (predicted, torch.zeros_like(masks), by_brightness[grey_levels(images)])
        for name, guess in zip(names, guesses, strict=True):
            tables = (confusion(*pair, classes) for pair in zip(guess, masks, strict=True))
            sizes[name] += map(areas, tables)
        for place in shown & set(indices):
            at = place - start
            # Void pixels are drawn as background, since the figure has no colour for them.
            greys = (masks[at].clamp(min=0), predicted[at])
            pictures = (images[at].mean(0) / 2 + 0.5, *(c / (classes - 1) for c in greys))
            rows.append([_small(picture) for picture in pictures])
    return {name: torch.stack(each) for name, each in sizes.items()}, rows


def _small(picture: Tensor) -> list[list[float]]:
    """Return every n-th pixel of every n-th row of a picture (H, W), as lists."""
    # Every n-th pixel keeps class numbers whole; a mean of two classes would be a third.
    step = math.ceil(max(picture.shape) / FIGURE_SIDE)
    return [[round(value, 2) for value in row] for row in picture[::step, ::step].tolist()]


def over_images(formula: Callable[[Tensor], float], sizes: Tensor) -> Score:
    """Return a formula of the summed areas of images, (images, 3, K), as a score."""
    # Areas are summed over the split, so each pixel has the same weight in every image.
    flat = sizes.double().flatten(1)
    return lambda weights: formula((torch.from_numpy(weights) @ flat).view(sizes.shape[1:]))


def metrics(sizes: dict[str, Tensor]) -> list[dict[str, Any]]:
    """Return mean foreground Dice and mean IoU, with their baselines."""
    rows = []
    for name, title, formula in (
        ("mean_foreground_dice", "mean foreground Dice", dice),
        ("mean_iou", "mIoU", mean_iou),
    ):
        # Both formulas read the same areas, so no method is run twice.
        scores = {method: over_images(formula, each) for method, each in sizes.items()}
        own, samples = scores.pop("model"), Samples("images", len(sizes["model"]))
        row = metric(name, "share", own, scores, samples, title=title, higher_is_better=True)
        rows.append(row)
    return rows


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint on every annotated pixel of the test split."""
    scenes = load_scenes(trained.data, trained.args.data, trained.model)
    model = trained.load(lambda: Model(trained.model))
    sizes, rows = score(model, scenes, trained.config, trained.device)
    figure = {"kind": "images", "columns": ["input", "truth", "prediction"], "rows": rows}
    # The area of each class in the truth: (images, 3, K) to (K,).
    areas_true = sizes["model"][:, 1].sum(0).tolist()
    return Report(
        scenes.name,
        scenes.sha256,
        len(scenes.splits["test"]),
        metrics(sizes),
        figure,
        n_unit="images",
        untested=[f"class {number}" for number, area in enumerate(areas_true) if not area],
    )


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: bundled slices)",
    settings={"batch_size": Setting("images scored at once")},
)

if __name__ == "__main__":
    run(main)
