"""Score a checkpoint on the test split, beside what the brightness of a pixel alone tells.

    python eval.py                                   the checkpoint that train.py left in `out`
    python eval.py --size full --data my_scans       the full model, on your images and masks

Prints JSON on stdout. No other script reads the test split.
"""

import argparse
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from data import Config as DataConfig
from data import Scenes, load_scenes
from model import Config as ModelConfig
from model import Model
from runtime.checkpoint import find_checkpoint, load_model
from runtime.device import choose_device
from runtime.errors import run
from runtime.options import shared_options, sized
from runtime.report import metric, print_report
from runtime.settings import load_config

GREY_LEVELS = 256
FIGURE_ROWS = 2
FIGURE_SIDE = 40  # pixels of the longer side


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 8
    """Images scored at once."""
    baseline_images: int = 1000
    """Training images, at most, on which the baseline by brightness is fitted."""


def confusion(predicted: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Return how many pixels of each class (rows) are taken for each (columns), shape (K, K)."""
    counts = truth >= 0
    pairs = truth[counts] * classes + predicted[counts]
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def dice(table: Tensor) -> float:
    """Return the mean over foreground classes of 2 |A & B| / (|A| + |B|) (Dice, 1945).

    A class that is neither in the truth nor predicted does not count.
    """
    both, sizes = table.diagonal()[1:].double(), (table.sum(0) + table.sum(1))[1:]
    present = sizes > 0
    return float((2 * both[present] / sizes[present]).mean()) if present.any() else math.nan


def mean_iou(table: Tensor) -> float:
    """Return the mean over all present classes of |A & B| / |A | B|."""
    both = table.diagonal().double()
    union = table.sum(0) + table.sum(1) - table.diagonal()
    present = union > 0
    return float((both[present] / union[present]).mean())


def grey_levels(images: Tensor) -> Tensor:
    """Return the brightness (B, H, W) of images (B, C, H, W), from 0 to 255."""
    return ((images.mean(1) + 1) * 127.5).round().long()


def classes_by_brightness(scenes: Scenes, config: Config, classes: int) -> Tensor:
    """Return the likeliest class of each brightness in the training split, shape (256,).

    The Bayes classifier that sees one pixel's brightness; an unseen one is background.
    """
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
    """Return a confusion table a method, the checkpoint's under "model", and a figure's rows."""
    classes, count = model.config.num_classes, len(scenes.splits["test"])
    by_brightness = classes_by_brightness(scenes, config, classes)
    names = ("model", "all background", "brightness")
    tables = {name: torch.zeros(classes, classes, dtype=torch.int64) for name in names}
    shown = {count * (2 * row + 1) // (2 * FIGURE_ROWS) for row in range(FIGURE_ROWS)}
    rows = []
    for start in range(0, count, config.batch_size):
        indices = range(start, min(start + config.batch_size, count))
        images, masks = scenes.batch("test", indices)
        found = model(images.to(device)).argmax(1).cpu()  # (B, H, W)
        guesses = (found, torch.zeros_like(masks), by_brightness[grey_levels(images)])
        for name, guess in zip(names, guesses, strict=True):
            tables[name] += confusion(guess, masks, classes)
        for place in shown & set(indices):
            at = place - start
            colours = (masks[at].clamp(min=0), found[at])
            pictures = (images[at].mean(0) / 2 + 0.5, *(c / (classes - 1) for c in colours))
            rows.append([_small(picture) for picture in pictures])
    return tables, rows


def _small(picture: Tensor) -> list[list[float]]:
    """Return a picture (H, W) as rows of numbers, every n-th pixel of every n-th row."""
    step = math.ceil(max(picture.shape) / FIGURE_SIDE)
    return [[round(value, 2) for value in row] for row in picture[::step, ::step].tolist()]


def metrics(tables: dict[str, Tensor]) -> list[dict[str, Any]]:
    """Return mean foreground Dice and mean IoU, beside their baselines."""
    found = []
    for name, formula in (("mean_foreground_dice", dice), ("mean_iou", mean_iou)):
        values = {method: formula(table) for method, table in tables.items()}
        value = values.pop("model")
        found.append(metric(name, "share", value, values, higher_is_better=True))
    return found


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "eval", "proxy"), Config()
    return shared_options(
        __doc__,
        data="what train.py was given (default: bundled slices)",
        batch_size=f"images scored at once {sized(proxy, full, 'batch_size')}",
    ).parse_args()


def main() -> None:
    """Print the scores of a checkpoint."""
    args = command_line()
    device = choose_device(args.device, args.threads)
    config = load_config(Config, "eval", args.size)
    model_config = load_config(ModelConfig, "model", args.size)
    folder = find_checkpoint(args.checkpoint or args.out / "checkpoint")
    scenes = load_scenes(load_config(DataConfig, "data", args.size), args.data, model_config)
    model = load_model(lambda: Model(model_config), folder).to(device)
    tables, rows = score(model, scenes, config, device)
    figure = {"kind": "images", "columns": ["input", "truth", "prediction"], "rows": rows}
    count = len(scenes.splits["test"])
    print_report(scenes.name, scenes.sha256, count, metrics(tables), folder, figure)


if __name__ == "__main__":
    run(main)
