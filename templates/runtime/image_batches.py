"""Images of a split as batches of tensors: how they are varied for training, and normalized.

A `config` is the Config of data.py: how pixels are normalized, and how training images vary.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runtime.augmentation import erased, rand_augment, resized_crop, shifted
from runtime.images import ImageFiles
from runtime.order import samples_at
from runtime.pixels import Picture, survey
from runtime.stored import list_pictures

READ_AT_ONCE = 256  # more images take more memory, and are not read faster


@dataclass(frozen=True)
class Pixels:
    """How pixels are normalized, and how training images vary."""

    pixel_mean: float = 0.5
    """Subtracted from pixels, which lie between 0 and 1."""
    pixel_std: float = 0.5
    """Divides pixels after the subtraction."""
    crop_padding: int = 28
    """Black pixels around a training image before a random crop to its size; 0 for no crop."""
    crop_scale: float = 0.0
    """Least share of a training image that a random crop keeps and scales up; 0 for no crop."""
    flip: bool = False
    """Whether to mirror half of the training images; leave it off for letters and digits."""
    operations: int = 0
    """Operations of RandAugment on a training image."""
    magnitude: float = 9.0
    """Strength of these operations, from 0 to 10."""
    erase: float = 0.0
    """Share of the training images of which noise replaces a rectangle."""


@dataclass(frozen=True)
class Split:
    """The images of a split, uint8 (N, channels, height, width), and their targets (N,)."""

    pixels: Tensor | ImageFiles
    targets: Tensor


@dataclass(frozen=True)
class Images:
    """Images of classes in three splits.

    Attributes:
        name: Name in reports.
        sha256: Digest of all images with their classes and splits.
        labels: Names of the classes of all splits; a name's place is its number.
        splits: The samples by split.
    """

    name: str
    sha256: str
    labels: tuple[str, ...]
    splits: dict[str, Split]


def of_files(files: Sequence[Picture], targets: Tensor, model: Any) -> Split:
    """Return image files as a split; they stay on the disk until a batch needs them."""
    size = (model.image_height, model.image_width)
    return Split(ImageFiles(files, size, model.num_channels), targets)


def drawn(pixels: Tensor, targets: Tensor, model: Any) -> Split:
    """Return images (N, height, width), uint8, that a script drew, with the model's channels."""
    # `expand` repeats the one channel without copying it.
    return Split(pixels[:, None].expand(-1, model.num_channels, -1, -1), targets)


def batch_at(
    split: Split, position: int, count: int, following: int, config: Any, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the samples at some positions of the training order: (B, C, H, W) and targets (B,).

    The position alone decides how a sample is varied, so a resumed run repeats it. `following` is
    the position of the next call: its image files are read while the model computes.
    """
    total = len(split.targets)
    places, coming = (samples_at(at, count, total, seed) for at in (position, following))
    return chosen_at(split, places, coming, config, seed)


def chosen_at(
    split: Split,
    places: Sequence[tuple[int, int]],
    coming: Sequence[tuple[int, int]],
    config: Any,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Return the varied samples of some (epoch, index); files of the coming ones are read ahead."""
    # No generator has to be saved for a resumed run, because seed and place decide everything.
    indices = [index for _, index in places]
    # Images are decoded in this line if they are files.
    pixels = split.pixels[indices]
    if isinstance(split.pixels, ImageFiles):
        # Reading files takes longer than a training step of a small model, so both run in parallel.
        split.pixels.expect(index for _, index in coming)
    generators = [_generator(seed, epoch, index) for epoch, index in places]
    images = [varied(*pair, config) for pair in zip(pixels, generators, strict=True)]
    return normalized(torch.stack(images), config), split.targets[indices]


def batches(split: Split, size: int, config: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield all samples of a split unchanged, in order: (B, C, H, W) and targets (B,)."""
    # Val and test images are neither cropped nor mirrored: scores must not depend on chance.
    for start in range(0, len(split.targets), size):
        indices = list(range(start, min(start + size, len(split.targets))))
        yield normalized(split.pixels[indices], config), split.targets[indices]


def spread(split: Split, count: int) -> Iterator[tuple[int, Tensor]]:
    """Yield the places and the pixels of some images of a split, in equal steps."""
    # Neighbours in a split are often alike: equal steps show more kinds.
    total = len(split.targets)
    for turn in range(min(count, total)):
        index = turn * total // min(count, total)
        yield index, split.pixels[[index]][0]


def shown(
    splits: dict[str, Split],
    config: Any,
    path: Path | None,
    described: Callable[[str, Split], Iterable[str]],
) -> Iterator[str]:
    """Yield what data.py prints of images: what their files are, and lines about each split.

    Args:
        splits: The samples by split.
        config: How pixels are normalized.
        path: The data; None for the bundled set.
        described: Returns the lines about a split.
    """
    if path:
        found = list_pictures(path)
        yield from survey([file for each in splits.values() for file in files_of(each)]).lines()
        yield from found.left_out()
    for name, split in splits.items():
        # Reading every file now reports a damaged one before hours of training.
        for _ in batches(split, READ_AT_ONCE, config):
            pass
        yield from described(name, split)


def files_of(split: Split) -> Sequence[Picture]:
    """Return the files of a split; none for images that a script drew."""
    return split.pixels.paths if isinstance(split.pixels, ImageFiles) else ()


def varied(image: Tensor, generator: torch.Generator, config: Any) -> Tensor:
    """Return an image (C, H, W), uint8, varied at random."""
    # All numbers are drawn under all settings, so turning one on leaves the others unchanged.
    top, left, mirror, area, shape, erase, *hole = torch.rand(10, generator=generator).tolist()
    picks = torch.rand(2 * config.operations, generator=generator).tolist()
    image = shifted(image, config.crop_padding, top, left)
    if config.crop_scale:
        image = resized_crop(image, config.crop_scale, (top, left, area, shape))
    # Mirroring keeps the class of most photographs, and doubles the data at no cost.
    if config.flip and mirror < 0.5:
        image = image.flip(-1)
    if picks:
        image = rand_augment(image, config.magnitude, picks)
    return erased(image, hole, generator) if erase < config.erase else image


def normalized(pixels: Tensor, config: Any) -> Tensor:
    """Return uint8 images as float32: (pixels / 255 - mean) / std."""
    # Pixels stay uint8 until here, which takes a quarter of the memory of float32.
    scaled: Tensor = (pixels.float() / 255 - config.pixel_mean) / config.pixel_std
    return scaled


def preprocessor(model: Any, config: Any) -> dict[str, Any]:
    """Return preprocessor_config.json, with which transformers prepares an image as `read_image`.

    It differs for a shape that is not square: transformers then stretches the image to the shape.
    """
    height, width = model.image_height, model.image_width
    square = {"shortest_edge": height}
    return {
        "image_processor_type": "BitImageProcessor",
        "do_convert_rgb": model.num_channels == 3,
        "do_resize": True,
        "size": square if height == width else {"height": height, "width": width},
        "resample": 2,  # bilinear, as PIL counts them
        # `read_image` also crops the middle of the scaled image.
        "do_center_crop": True,
        "crop_size": {"height": height, "width": width},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [config.pixel_mean] * model.num_channels,
        "image_std": [config.pixel_std] * model.num_channels,
    }


def _generator(seed: int, epoch: int, index: int) -> torch.Generator:
    """Return the random numbers of a sample in an epoch."""
    # The factor is a large prime, so two samples hardly ever share a number.
    number = ((seed * 1_000_003 + epoch) * 1_000_003 + index) % 2**63
    return torch.Generator().manual_seed(number)
