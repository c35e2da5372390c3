"""Score a checkpoint on the test split, and compare with detectors that have no network.

    python eval.py                                   the checkpoint that train.py wrote to `out`
    python eval.py --size full --data my_images      the full model, on your images and boxes

Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split.
"""

from dataclasses import dataclass
from typing import Any

import torch

from data import Config as DataConfig
from data import load_scenes
from model import Config as ModelConfig
from model import Model
from runtime.coco_scores import AveragePrecision
from runtime.components import baselines
from runtime.errors import run
from runtime.objects import Found, Objects
from runtime.pictures import Pictures
from runtime.report import Report, metric
from runtime.scores import Samples
from runtime.scripts import Setting, Trained, scoring

MOST = 100  # objects of an image, as COCO counts
FIGURE_SCORE = 0.3  # Surer detections are drawn.
THRESHOLDS = {"map": None, "map_50": 0.5, "map_75": 0.75}
TITLES = {"map": "mAP", "map_50": "mAP@50", "map_75": "mAP@75"}


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 16
    """Images scored at once."""
    least_score: float = 0.01
    """Score from which a detection counts; fewer are faster, and lose recall."""
    baseline_images: int = 200
    """Training images that fit the baselines, taken from the start."""


@torch.no_grad()
def detect(model: Model, pictures: Pictures, config: Config, device: torch.device) -> list[Found]:
    """Return what the network finds in each image of the test split."""
    found: list[Found] = []
    for images, *_ in pictures.batches("test", config.batch_size):
        predictions = model(images.to(device))
        for each in model.detections(predictions, config.least_score, MOST):
            found.append(Found(each.boxes.cpu(), each.scores.cpu(), each.classes.cpu()))
    return found


def metrics(truth: list[Objects], found: dict[str, list[Found]]) -> list[dict[str, Any]]:
    """Return mAP over IoUs from 0.5 to 0.95, at 0.5 and at 0.75, with their baselines."""
    every = {name: AveragePrecision(truth, each) for name, each in found.items()}
    samples = Samples("images", len(truth))
    rows = []
    for name, threshold in THRESHOLDS.items():
        scores = {method: each.at(threshold) for method, each in every.items()}
        own, title = scores.pop("model"), TITLES[name]
        row = metric(name, "share", own, scores, samples, title=title, higher_is_better=True)
        rows.append(row)
    return rows


def figure(pictures: Pictures, truth: list[Objects], found: list[Found]) -> dict[str, Any]:
    """Return images that are spread over the split, with true boxes and those found."""
    names, images = pictures.classes, []
    for place, grey, skip in pictures.figured("test"):
        sure, objects = found[place], truth[place]
        chosen = sure.scores >= FIGURE_SCORE
        images.append(
            {
                # A row is text in hexadecimal: a list of numbers takes five times the room.
                "pixels": [bytes(row).hex() for row in grey.tolist()],
                "truth": _labelled(objects.boxes / skip, objects.classes, names),
                "found": _labelled(sure.boxes[chosen] / skip, sure.classes[chosen], names),
            }
        )
    return {"kind": "boxes", "images": images}


def _labelled(
    boxes: torch.Tensor, classes: torch.Tensor, names: tuple[str, ...]
) -> list[dict[str, Any]]:
    rows = zip(boxes.tolist(), classes.tolist(), strict=True)
    return [
        {
            "box": [round(side, 1) for side in box],
            "name": names[number] if number < len(names) else "",
        }
        for box, number in rows
    ]


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint on the objects of the test split."""
    pictures = load_scenes(trained.data, trained.args.data, trained.model)
    model = trained.load(lambda: Model(trained.model))
    truth = pictures.truth("test")
    found = detect(model, pictures, trained.config, trained.device)
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
