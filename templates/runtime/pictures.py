"""Images with objects in three splits: composed scenes, or a user's folder in COCO's form."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runtime.coco import Annotated, read_annotated, read_coco
from runtime.errors import fail
from runtime.labels import say_untested, untested
from runtime.objects import Objects, padded
from runtime.scenes import CLASSES, NAME, SIDE, Scene, compose
from runtime.splits import SPLITS, require_samples

Sample = tuple[Tensor, Objects]


@dataclass(frozen=True)
class Shape:
    """What a network takes and tells apart.

    Attributes:
        height: Height of an image in pixels.
        width: Width of an image in pixels.
        channels: 1 for grey, 3 for colours.
        classes: How many classes it tells apart.
        masks: Whether it learns the mask of each object.
    """

    height: int
    width: int
    channels: int
    classes: int
    masks: bool = False


@dataclass(frozen=True)
class Pictures:
    """Images with objects.

    Attributes:
        name: Name in reports.
        sha256: Digest of all of them.
        classes: The names of the classes.
        splits: The images of each split, in memory or as files.
        shape: Sets the size and the channels of images.
        left_out: Sentences on files that are not read.
    """

    name: str
    sha256: str
    classes: tuple[str, ...]
    splits: dict[str, list[Any]]
    shape: Shape
    left_out: tuple[str, ...] = ()

    def sample(self, split: str, index: int) -> Sample:
        """Return an image (C, H, W), uint8, and its objects."""
        source, shape = self.splits[split][index], self.shape
        if isinstance(source, Annotated):
            return read_annotated(source, (shape.height, shape.width), shape.channels)
        return _composed(source, shape)

    def truth(self, split: str) -> list[Objects]:
        """Return the objects of each image of a split."""
        return [self.sample(split, index)[1] for index in range(len(self.splits[split]))]


def load_pictures(
    path: Path | None, shape: Shape, val_fraction: float, test_fraction: float
) -> Pictures:
    """Return the images of a folder, or the bundled ones, or stop if they do not fit."""
    if path is None:
        return _bundled(shape)
    read = read_coco(path, val_fraction, test_fraction, outlines=shape.masks)
    _check_classes(read.name, len(read.classes), shape)
    sizes = {split: len(each) for split, each in read.splits.items()}
    require_samples(read.name, "images", sizes)
    for split in SPLITS:
        numbers = {n for each in read.splits[split] for n in each.classes.tolist()}
        if not numbers:
            fail(f"{read.name}: no image of {split} has an object: add some, or use more data.")
        say_untested(f"{read.name} has no {split} object", untested(read.classes, numbers))
    splits: dict[str, list[Any]] = dict(read.splits)
    return Pictures(read.name, read.sha256, read.classes, splits, shape, tuple(read.left_out))


def _bundled(shape: Shape) -> Pictures:
    if (shape.height, shape.width) != (SIDE, SIDE):
        fail(
            f"{NAME} has images of {SIDE} x {SIDE} pixels, and the model takes {shape.height} x "
            f"{shape.width}: use --data."
        )
    _check_classes(NAME, len(CLASSES), shape)
    splits, sha256 = compose()
    return Pictures(NAME, sha256, CLASSES, dict(splits), shape)


def _check_classes(name: str, count: int, shape: Shape) -> None:
    if count > shape.classes:
        fail(
            f"{name} has {count} classes, and the model tells {shape.classes} apart: set "
            "num_classes in code/config.json, or use other data."
        )


def _composed(scene: Scene, shape: Shape) -> Sample:
    image = torch.from_numpy(scene.pixels).expand(shape.channels, -1, -1)
    objects = Objects(
        torch.from_numpy(scene.boxes),
        torch.from_numpy(scene.classes),
        torch.zeros(len(scene.classes), dtype=torch.bool),
        torch.from_numpy(scene.masks) if shape.masks else None,
    )
    return image, objects


def batch_of(samples: list[Sample]) -> tuple[Tensor, ...]:
    """Return images (B, C, H, W) from -1 to 1, boxes (B, M, 4), classes (B, M), and masks if any.

    Objects of a crowd are left out; see `padded` for the places without an object.
    """
    images = torch.stack([image for image, _ in samples]).float() / 127.5 - 1
    return images, *padded([objects.single() for _, objects in samples])
