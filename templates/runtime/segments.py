"""Images whose pixels all belong to segments: things that are told apart, and stuff.

Segments are objects with masks. Classes of things have the first numbers, those of stuff the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from runtime.coco_panoptic import boxes_of, read_mapped, read_panoptic
from runtime.labels import say_untested, untested
from runtime.objects import Found, Objects, padded
from runtime.pictures import Pictures, Sample, check_classes, check_side, scaled
from runtime.scenes import CLASSES, SCENES, TEXTURES, Form, Scene, compose
from runtime.splits import SPLITS, require_samples

NAME = "digits_on_two_textures"
FORM = Form(SCENES, texture=0.05, contrasts=(0.5, 0.7), joined=True)
VOID = -1  # the stuff of pixels that are not labelled
MOST_HIDDEN = 0.5  # share of a thing that surer things may hide


@dataclass(frozen=True)
class Sizes:
    """What a network takes and tells apart.

    Attributes:
        height: Height of an image in pixels.
        width: Width of an image in pixels.
        channels: 1 for grey, 3 for colours.
        things: Classes of things.
        stuff: Classes of stuff.
    """

    height: int
    width: int
    channels: int
    things: int
    stuff: int


@dataclass(frozen=True)
class SegmentedPictures(Pictures):
    """Images with segments, whose classes have the numbers of a network's outputs.

    Attributes:
        things: Classes of things that the network tells apart. The data may have fewer; names of
            classes that it has not are empty.
        shift: How many fewer it has.
    """

    things: int = 0
    shift: int = 0

    def sample(self, split: str, index: int) -> Sample:
        """Return an image (C, H, W), uint8, and its segments."""
        image, objects = super().sample(split, index)
        stuff = objects.classes >= self.things - self.shift
        return image, replace(objects, classes=objects.classes + self.shift * stuff)

    def batch(self, samples: Sequence[Sample]) -> tuple[Tensor, ...]:
        """Return images (B, C, H, W) from -1 to 1, boxes, classes and masks of things, and stuff.

        Things are those of `padded`; the stuff of a batch is (B, H, W), that of `stuff_of`.
        """
        every = [objects for _, objects in samples]
        things = [each.of(each.classes < self.things).single() for each in every]
        stuff = torch.stack([stuff_of(each, self.things) for each in every])
        return scaled(samples), *padded(things), stuff

    def named(self) -> tuple[str, ...]:
        """Return a name for each class, also for those that the data has not."""
        return tuple(name or f"LABEL_{number}" for number, name in enumerate(self.classes))


def stuff_of(objects: Objects, things: int) -> Tensor:
    """Return the stuff of each pixel (H, W), from 1; 0 in a thing, -1 where it is not labelled."""
    assert objects.masks is not None
    stuff = torch.full(objects.masks.shape[1:], VOID)
    for mask, number in zip(objects.masks, objects.classes.tolist(), strict=True):
        stuff[mask] = max(0, number - things + 1)
    return stuff


def load_segments(
    path: Path | None, sizes: Sizes, val_fraction: float, test_fraction: float
) -> SegmentedPictures:
    """Return the images of a folder, or the bundled ones, or stop if they do not fit."""
    if path is None:
        return _bundled(sizes)
    read = read_panoptic(path, val_fraction, test_fraction)
    coco, things = read.coco, read.things
    require_samples(coco.name, "images", {split: len(each) for split, each in coco.splits.items()})
    for split in SPLITS:
        numbers = {n for each in coco.splits[split] for n, _ in each.segments.values()}
        say_untested(f"{coco.name} has no {split} segment", untested(coco.classes, numbers))
    sample = partial(read_mapped, size=(sizes.height, sizes.width), channels=sizes.channels)
    pictures = Pictures(
        coco.name, coco.sha256, coco.classes, dict(coco.splits), sample, tuple(coco.left_out)
    )
    return _numbered(pictures, things, sizes)


def _bundled(sizes: Sizes) -> SegmentedPictures:
    check_side(NAME, sizes.height, sizes.width)
    splits, sha256 = compose(form=FORM)
    sample = partial(_composed, channels=sizes.channels)
    pictures = Pictures(NAME, sha256, (*CLASSES, *TEXTURES), dict(splits), sample)
    return _numbered(pictures, len(CLASSES), sizes)


def _numbered(pictures: Pictures, things: int, sizes: Sizes) -> SegmentedPictures:
    """Return images whose classes have the numbers of a network's outputs, or stop."""
    name, classes = pictures.name, pictures.classes
    check_classes(name, things, sizes.things, "classes of things")
    check_classes(name, len(classes) - things, sizes.stuff, "classes of stuff", "num_stuff")
    shift = sizes.things - things
    named = (*classes[:things], *[""] * shift, *classes[things:])
    missing = sizes.things + sizes.stuff - len(named)
    return SegmentedPictures(
        name,
        pictures.sha256,
        (*named, *[""] * missing),
        pictures.splits,
        pictures.read,
        pictures.left_out,
        sizes.things,
        shift,
    )


def _composed(scene: Scene, channels: int) -> Sample:
    """Return a scene and its segments: its digits, and each texture where it shows."""
    image = torch.from_numpy(scene.pixels).expand(channels, -1, -1)
    free = ~scene.masks.any(0)
    numbers = np.unique(scene.ground[free])
    masks = torch.from_numpy(
        np.concatenate([scene.masks, (scene.ground == numbers[:, None, None]) & free])
    )
    classes = np.concatenate([scene.classes, numbers.astype(np.int64) + len(CLASSES)])
    crowd = torch.zeros(len(classes), dtype=torch.bool)
    return image, Objects(boxes_of(masks), torch.from_numpy(classes), crowd, masks)


@dataclass(frozen=True)
class Segments:
    """The N segments that a method finds in an image; no two share a pixel.

    Attributes:
        numbers: (H, W), int64, the number of the segment of each pixel, from 1; 0 for none.
        classes: (N,), int64, the class of each, in the order of the numbers.
        scores: (N,), how sure each thing is; 1 for stuff.
    """

    numbers: Tensor
    classes: Tensor
    scores: Tensor


def merged(
    found: Found, stuff: Tensor, things: int, least_score: float, least_area: float
) -> Segments:
    """Return the segments of an image from its things and its stuff.

    The surest things come first, and a thing keeps the pixels that no surer one has; it is left out
    if less than half of its mask is free. Stuff fills the rest (Kirillov et al., 2019,
    arXiv:1901.02446, section 3.3).

    Args:
        found: Things with masks (N, H, W).
        stuff: (H, W), the class of stuff of each pixel, from 1; 0 for things.
        things: Classes of things, which precede those of stuff.
        least_score: Score from which a thing counts.
        least_area: Pixels from which on stuff counts.
    """
    assert found.masks is not None
    numbers = torch.zeros_like(stuff, dtype=torch.int64)
    rows: list[tuple[int, float]] = []
    for place in found.scores.argsort(descending=True, stable=True).tolist():
        mask = found.masks[place]
        free = mask & (numbers == 0)
        score, area = float(found.scores[place]), int(mask.sum())
        if score >= least_score and area and int(free.sum()) >= (1 - MOST_HIDDEN) * area:
            rows.append((int(found.classes[place]), score))
            numbers[free] = len(rows)
    for kind in np.unique(stuff.numpy()).tolist():
        free = (stuff == kind) & (numbers == 0)
        if kind > 0 and int(free.sum()) >= least_area:
            rows.append((things + int(kind) - 1, 1.0))
            numbers[free] = len(rows)
    classes = torch.tensor([number for number, _ in rows], dtype=torch.int64)
    return Segments(numbers, classes, torch.tensor([score for _, score in rows]))


def colours_of(numbers: Tensor) -> Any:
    """Return a map in COCO's form, (H, W, 3), bytes, from the numbers of segments (H, W)."""
    return torch.stack([numbers >> shift & 255 for shift in (0, 8, 16)], -1).byte().numpy()
