"""Images with objects in three splits: composed scenes, or a user's folder in COCO's form."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from runtime.coco_instances import Annotated, read_annotated, read_coco
from runtime.errors import fail
from runtime.fitted import read_fitted, scale_into, whole_image
from runtime.labels import say_untested, untested
from runtime.objects import Objects, mirrored, padded, zoomed
from runtime.options import Group, existing
from runtime.order import samples_at
from runtime.pixels import survey
from runtime.scenes import CLASSES, NAME, SIDE, Scene, compose
from runtime.splits import SPLITS, require_samples

FIGURE_IMAGES = 4
FIGURE_SIDE = 96  # pixels of the longer side; a report grows with its square
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


class Changes(Protocol):
    """How training images vary: whether half are mirrored, and the greatest factor of a zoom."""

    @property
    def flip(self) -> bool: ...
    @property
    def zoom(self) -> float: ...


class TakesImages(Protocol):
    """The sides and channels of a network's images, as the Config of model.py has them."""

    @property
    def image_height(self) -> int: ...
    @property
    def image_width(self) -> int: ...
    @property
    def num_channels(self) -> int: ...


class Picture(NamedTuple):
    """An image to look at.

    Attributes:
        name: Name for files.
        whole: (height, width, 3), bytes.
        image: (C, H, W), uint8, as the network takes it.
        scale: Pixels of `image` for each pixel of `whole`.
    """

    name: str
    whole: Any
    image: Tensor
    scale: float


@dataclass(frozen=True)
class Pictures:
    """Images with objects.

    Attributes:
        name: Name in reports.
        sha256: Digest of all of them.
        classes: The names of the classes.
        splits: The images of each split, in memory or as files.
        read: Returns one of these images, (C, H, W), uint8, and its objects.
        left_out: Sentences on files that are not read.
    """

    name: str
    sha256: str
    classes: tuple[str, ...]
    splits: dict[str, list[Any]]
    read: Callable[[Any], Sample]
    left_out: tuple[str, ...] = ()

    def sample(self, split: str, index: int) -> Sample:
        """Return an image (C, H, W), uint8, and its objects."""
        return self.read(self.splits[split][index])

    def batch(self, samples: Sequence[Sample]) -> tuple[Tensor, ...]:
        """Return images (B, C, H, W) from -1 to 1, boxes (B, M, 4), classes (B, M), masks if any.

        Objects of a crowd are left out; see `padded` for the places without an object.
        """
        return scaled(samples), *padded([objects.single() for _, objects in samples])

    def truth(self, split: str) -> list[Objects]:
        """Return the objects of each image of a split."""
        return [self.sample(split, index)[1] for index in range(len(self.splits[split]))]

    def batch_at(
        self, changes: Changes, position: int, count: int, seed: int
    ) -> tuple[Tensor, ...]:
        """Return the training samples at some positions of the order, as `batch` does.

        The position alone decides how a sample is changed, so a resumed run repeats it.
        """
        samples = []
        every = samples_at(position, count, len(self.splits["train"]), seed)
        for place, (_, index) in enumerate(every, start=position):
            generator = torch.Generator().manual_seed((seed * 1_000_003 + place) % 2**63)
            samples.append(_changed(*self.sample("train", index), changes, generator))
        return self.batch(samples)

    def batches(self, split: str, size: int) -> Iterator[tuple[Tensor, ...]]:
        """Yield a split in batches, unchanged and in order, as `batch` does."""
        count = len(self.splits[split])
        for start in range(0, count, size):
            indices = range(start, min(start + size, count))
            yield self.batch([self.sample(split, index) for index in indices])

    def figured(self, split: str) -> Iterator[tuple[int, Tensor, int]]:
        """Yield some images, spread over a split, as a report shows them.

        Each is its place in the split, grey pixels (h, w), uint8, and how many pixels of the image
        one of them stands for, along a side.
        """
        count = len(self.splits[split])
        for place in range(0, count, max(1, count // FIGURE_IMAGES))[:FIGURE_IMAGES]:
            grey = self.sample(split, place)[0].float().mean(0).round().to(torch.uint8)
            skip = -(-max(grey.shape) // FIGURE_SIDE)
            yield place, grey[::skip, ::skip], skip

    def untested(self, truth: Sequence[Objects]) -> list[str]:
        """Return the names of the classes of which the images of a split have no object."""
        numbers = {number for each in truth for number in each.classes.tolist()}
        # A class without a name is an output of the network that the data does not use.
        return [name for name in untested(self.classes, numbers) if name]

    def first(self, split: str) -> Picture:
        """Return the first image of a split."""
        image, _ = self.sample(split, 0)
        array = image.permute(1, 2, 0).numpy()
        whole = np.broadcast_to(array, (*array.shape[:2], 3))
        return Picture(f"{self.name}_{split}", whole, image, 1.0)


def load_pictures(
    path: Path | None, shape: Shape, val_fraction: float, test_fraction: float
) -> Pictures:
    """Return the images of a folder, or the bundled ones, or stop if they do not fit."""
    if path is None:
        return _bundled(shape)
    read = read_coco(path, val_fraction, test_fraction, outlines=shape.masks)
    check_classes(read.name, len(read.classes), shape.classes)
    sizes = {split: len(each) for split, each in read.splits.items()}
    require_samples(read.name, "images", sizes)
    for split in SPLITS:
        numbers = {n for each in read.splits[split] for n in each.classes.tolist()}
        if not numbers:
            fail(f"{read.name}: no image of {split} has an object: add some, or use more data.")
        say_untested(f"{read.name} has no {split} object", untested(read.classes, numbers))
    size = shape.height, shape.width

    def sample(source: Annotated) -> Sample:
        return read_annotated(source, size, shape.channels)

    left_out = tuple(read.left_out)
    return Pictures(read.name, read.sha256, read.classes, dict(read.splits), sample, left_out)


def _bundled(shape: Shape) -> Pictures:
    check_side(NAME, shape.height, shape.width)
    check_classes(NAME, len(CLASSES), shape.classes)
    splits, sha256 = compose()
    return Pictures(NAME, sha256, CLASSES, dict(splits), partial(_composed, shape=shape))


def check_side(name: str, height: int, width: int) -> None:
    """Stop if a model takes images of another size than the composed scenes have."""
    if (height, width) != (SIDE, SIDE):
        fail(
            f"{name} has images of {SIDE} x {SIDE} pixels, and the model takes {height} x {width}: "
            "use --data."
        )


def check_classes(
    name: str, count: int, outputs: int, things: str = "classes", dim: str = "num_classes"
) -> None:
    """Stop if data has more classes than a model tells apart."""
    if count > outputs:
        fail(
            f"{name} has {count} {things}, and the model tells {outputs} apart: set {dim} in "
            "code/config.json, or use other data."
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


def picture_option(group: Group) -> None:
    """Add --input, which names the image that `picture_of` reads."""
    group.add_argument("--input", type=existing, metavar="FILE", help="the image to look at")


def picture_of(path: Path | None, model: TakesImages, load: Callable[[], Pictures]) -> Picture:
    """Return an image file as a network takes it, or the first image of the validation split.

    Args:
        path: The file; None for the validation split.
        model: What the network takes.
        load: Returns the images with that split.
    """
    if path is None:
        return load().first("val")
    survey([path]).say(model.num_channels)
    whole, size = whole_image(path), (model.image_height, model.image_width)
    fitted = read_fitted(path, size, model.num_channels)
    return Picture(path.stem, whole, fitted, scale_into(whole.shape[:2], size))


def _changed(
    image: Tensor, objects: Objects, changes: Changes, generator: torch.Generator
) -> Sample:
    """Return an image and its objects mirrored and zoomed at random."""
    # All numbers are drawn under all settings, so turning one off leaves the others unchanged.
    mirror, *numbers = torch.rand(4, generator=generator).tolist()
    if changes.flip and mirror < 0.5:
        image, objects = mirrored(image, objects)
    if changes.zoom > 1:
        image, objects = zoomed(image, objects, changes.zoom, numbers)
    return image, objects


def scaled(samples: Sequence[Sample]) -> Tensor:
    """Return the images of samples, (B, C, H, W), with values from -1 to 1."""
    return torch.stack([image for image, _ in samples]).float() / 127.5 - 1
