"""Score a checkpoint on the test split, and compare with bright components and fixed boxes.

    python eval.py                                   the checkpoint that train.py wrote to `out`
    python eval.py --size full --data my_images      the full model, on your images and masks

Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from data import Config as DataConfig
from data import load_scenes
from model import Config as ModelConfig
from model import Model
from runtime.coco_scores import AveragePrecision, Kind
from runtime.components import baselines
from runtime.errors import run
from runtime.instances import pasted
from runtime.objects import Found, Objects
from runtime.pictures import Pictures
from runtime.report import Report, metric
from runtime.scores import Samples
from runtime.scripts import Setting, Trained, scoring

FIGURE_SCORE = 0.5  # Surer objects are drawn.
METRICS: tuple[tuple[str, str, Kind, float | None], ...] = (
    ("map_mask", "mask mAP", "segm", None),
    ("ap_50", "mask AP50", "segm", 0.5),
    ("ap_75", "mask AP75", "segm", 0.75),
    ("map_box", "box mAP", "bbox", None),
)


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 2
    """Images scored at once."""
    baseline_images: int = 200
    """Training images that fit the baselines, taken from the start."""


@torch.no_grad()
def segment(model: Model, images: Tensor) -> list[Found]:
    """Return the objects of images (B, C, H, W), their masks in the pixels of the images."""
    found = []
    for boxes, classes, scores, masks in zip(*model(images), strict=True):
        real = classes >= 0
        whole = pasted(masks[real].cpu(), boxes[real].cpu(), (images.size(2), images.size(3)))
        found.append(Found(boxes[real].cpu(), scores[real].cpu(), classes[real].cpu(), whole))
    return found


def segmented(
    model: Model, pictures: Pictures, config: Config, device: torch.device
) -> list[Found]:
    """Return what the network finds in each image of the test split."""
    found: list[Found] = []
    for images, *_ in pictures.batches("test", config.batch_size):
        found += segment(model, images.to(device))
    return found


def metrics(truth: list[Objects], found: dict[str, list[Found]]) -> list[dict[str, Any]]:
    """Return the average precision of masks and of boxes, with its baselines."""
    kinds: tuple[Kind, ...] = ("segm", "bbox")
    every = {
        (name, kind): AveragePrecision(truth, each, kind)
        for name, each in found.items()
        for kind in kinds
    }
    samples = Samples("images", len(truth))
    rows = []
    for name, title, kind, threshold in METRICS:
        scores = {method: every[method, kind].at(threshold) for method in found}
        own = scores.pop("model")
        row = metric(name, "share", own, scores, samples, title=title, higher_is_better=True)
        rows.append(row)
    return rows


def figure(pictures: Pictures, truth: list[Objects], found: list[Found]) -> dict[str, Any]:
    """Return images spread over the split, with the true masks and those of the network."""
    images = []
    for place, grey, skip in pictures.figured("test"):
        sure, objects = found[place], truth[place]
        chosen = sure.scores >= FIGURE_SCORE
        of_network = (sure.boxes[chosen], sure.classes[chosen], sure.masks, chosen)
        true = (objects.boxes, objects.classes, objects.masks, torch.ones_like(objects.crowd))
        images.append(
            {
                "pixels": grey.tolist(),
                "truth": _drawing(*true, skip, pictures.classes),
                "found": _drawing(*of_network, skip, pictures.classes),
            }
        )
    return {"kind": "masks", "images": images}


def _drawing(
    boxes: Tensor,
    classes: Tensor,
    masks: Tensor | None,
    chosen: Tensor,
    skip: int,
    names: tuple[str, ...],
) -> dict[str, Any]:
    """Return the number of the object of each pixel, from 1 on, and where each has its name."""
    assert masks is not None
    small = masks[chosen][:, ::skip, ::skip]  # (N, H, W)
    numbers = torch.arange(1, len(small) + 1)[:, None, None] * small
    # The surest object is the first, and is drawn over the others.
    over = torch.where(numbers > 0, numbers, len(small) + 1).amin(0) if len(small) else small.sum(0)
    labels = [
        {"at": [round(side / skip, 1) for side in box[:2]], "name": _name(names, number)}
        for box, number in zip(boxes.tolist(), classes.tolist(), strict=True)
    ]
    return {"objects": torch.where(over > len(small), 0, over).tolist(), "labels": labels}


def _name(names: tuple[str, ...], number: int) -> str:
    return names[number] if number < len(names) else ""


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint on the objects of the test split."""
    pictures = load_scenes(trained.data, trained.args.data, trained.model)
    model = trained.load(lambda: Model(trained.model))
    truth = pictures.truth("test")
    found = segmented(model, pictures, trained.config, trained.device)
    every = {"model": found, **baselines(pictures, trained.config.baseline_images)}
    return Report(
        pictures.name,
        pictures.sha256,
        len(truth),
        metrics(truth, every),
        figure(pictures, truth, found),
        n_unit="images",
        untested=pictures.untested(truth),
    )


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: composed scenes)",
    settings={"batch_size": Setting("images scored at once")},
)

if __name__ == "__main__":
    run(main)
