"""Score a checkpoint on the test split, and compare with one stuff, and components and textures.

    python eval.py                                   the checkpoint that train.py wrote to `out`
    python eval.py --size full --data my_images      the full model, on your images and maps

Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from data import Config as DataConfig
from data import load_scenes
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.instances import pasted
from runtime.objects import Found, Objects
from runtime.panoptic_scores import Kind, PanopticQuality
from runtime.report import Report, metric
from runtime.scores import Samples
from runtime.scripts import Setting, Trained, scoring
from runtime.segments import SegmentedPictures, Segments, merged
from runtime.textures import baselines

METRICS: tuple[tuple[str, str, Kind], ...] = (
    ("pq", "PQ", "pq"),
    ("sq", "SQ", "sq"),
    ("rq", "RQ", "rq"),
)


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 2
    """Images scored at once."""
    baseline_images: int = 200
    """Training images that fit the baselines, taken from the start."""
    least_score: float = 0.5
    """Score from which a thing counts."""
    least_area: int = 4096
    """Pixels from which on stuff counts."""


@torch.no_grad()
def segment(model: Model, images: Tensor, config: Config) -> list[Segments]:
    """Return the segments of images (B, C, H, W), in their pixels."""
    size, segments = (images.size(2), images.size(3)), []
    told = model(images)
    logits = F.interpolate(told.stuff.float(), size=size, mode="bilinear", align_corners=False)
    every = (told.boxes, told.classes, told.scores, told.masks, logits.argmax(1))
    for boxes, classes, scores, masks, stuff in zip(*(each.cpu() for each in every), strict=True):
        real = classes >= 0
        whole = pasted(masks[real], boxes[real], size)
        found = Found(boxes[real], scores[real], classes[real], whole)
        things = model.config.num_classes
        segments.append(merged(found, stuff, things, config.least_score, config.least_area))
    return segments


def segmented(
    model: Model, pictures: SegmentedPictures, config: Config, device: torch.device
) -> list[Segments]:
    """Return what the network finds in each image of the test split."""
    found: list[Segments] = []
    for images, *_ in pictures.batches("test", config.batch_size):
        found += segment(model, images.to(device), config)
    return found


def metrics(
    truth: list[Objects], found: dict[str, list[Segments]], things: int, classes: int
) -> list[dict[str, Any]]:
    """Return the panoptic quality of all classes, of things and of stuff, with its baselines."""
    every = {name: PanopticQuality(truth, each, classes) for name, each in found.items()}
    samples = Samples("images", len(truth))
    parts = (("things", slice(things)), ("stuff", slice(things, None)))
    scored = [(*each, slice(None)) for each in METRICS]
    scored += [(f"pq_{name}", f"PQ of {name}", "pq", part) for name, part in parts]
    rows = []
    for name, title, kind, part in scored:
        scores = {method: quality.of(kind, part) for method, quality in every.items()}
        own = scores.pop("model")
        row = metric(name, "share", own, scores, samples, title=title, higher_is_better=True)
        rows.append(row)
    return rows


def figure(
    pictures: SegmentedPictures, truth: list[Objects], found: list[Segments]
) -> dict[str, Any]:
    """Return images spread over the split, with the true segments and those of the network."""
    images = []
    for place, grey, skip in pictures.figured("test"):
        objects, own = truth[place], found[place]
        assert objects.masks is not None
        numbers = torch.zeros_like(own.numbers)
        for number, mask in enumerate(objects.masks, start=1):
            numbers[mask] = number
        images.append(
            {
                "pixels": grey.tolist(),
                "truth": _drawing(numbers[::skip, ::skip], objects.classes, pictures),
                "found": _drawing(own.numbers[::skip, ::skip], own.classes, pictures),
            }
        )
    return {"kind": "segments", "images": images}


def _drawing(numbers: Tensor, classes: Tensor, pictures: SegmentedPictures) -> dict[str, Any]:
    """Return the number of the segment of each pixel, and the class of each and its name's place.

    A segment too small for the figure has no place.
    """
    names, labels = pictures.named(), []
    for number, kind in enumerate(classes.tolist(), start=1):
        rows, columns = (numbers == number).nonzero(as_tuple=True)
        # The first pixel is the segment's own, so names of different segments stand apart.
        at = [int(columns[0]), int(rows[0])] if len(rows) else None
        thing = kind < pictures.things
        labels.append({"at": at, "name": names[kind], "class": kind, "thing": thing})
    return {"segments": numbers.tolist(), "labels": labels}


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint on the segments of the test split."""
    pictures = load_scenes(trained.data, trained.args.data, trained.model)
    model = trained.load(lambda: Model(trained.model))
    truth = pictures.truth("test")
    config = trained.config
    found = segmented(model, pictures, config, trained.device)
    every = {"model": found, **baselines(pictures, config.baseline_images, config.least_area)}
    return Report(
        pictures.name,
        pictures.sha256,
        len(truth),
        metrics(truth, every, pictures.things, len(pictures.classes)),
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
