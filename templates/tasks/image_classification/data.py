"""Images with their classes: small digits, or your own folders, in train, val and test splits.

    python data.py --data PATH    reads each image once, and shows what training will see

PATH holds a folder of images for each class, PATH/CLASS/any/name.png; the splits are then cut class
by class. Or it holds the splits, PATH/train/CLASS/name.png beside `val` and `test`; what is lacking
of those two is cut from `train`.
"""

import argparse
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from model import Config as ModelConfig
from runtime.errors import fail, run
from runtime.images import ImageFiles, file_digests, image_files
from runtime.options import existing
from runtime.order import samples_at
from runtime.report import digest
from runtime.settings import load_config, read_json

SPLITS = ("train", "val", "test")
FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
BUNDLED = "digits"
READ_AT_ONCE = 256  # images


@dataclass(frozen=True)
class Config:
    """How images become samples."""

    val_fraction: float = 0.1
    """Share of each class on which training is watched."""
    test_fraction: float = 0.1
    """Share of each class that only eval.py reads."""
    pixel_mean: float = 0.5
    """Subtracted from pixels, which lie between 0 and 1."""
    pixel_std: float = 0.5
    """Divides them then."""
    crop_padding: int = 28
    """Black pixels around a training image before a crop of its size at random; 0 for no crop."""
    flip: bool = False
    """Whether half of the training images are mirrored; wrong for letters and digits."""


@dataclass(frozen=True)
class Split:
    """The images of a split, uint8 (N, channels, height, width), and their classes (N,)."""

    pixels: Tensor | ImageFiles
    targets: Tensor


@dataclass(frozen=True)
class Images:
    """Images in three splits.

    Attributes:
        name: What they are called in reports.
        sha256: Digest of all images with their classes and splits.
        labels: Names of the classes.
        splits: The samples by split.
    """

    name: str
    sha256: str
    labels: tuple[str, ...]
    splits: dict[str, Split]


def load_images(config: Config, path: Path | None, model: ModelConfig) -> Images:
    """Return the images of a path at the model's size, or the bundled ones, or stop."""
    images = _digits(config, model) if path is None else _folder(config, path, model)
    for split, samples in images.splits.items():
        if not len(samples.targets):
            fail(f"{images.name} has too few images: none is left for the {split} split.")
    lacking = set(range(len(images.labels))) - set(images.splits["train"].targets.tolist())
    if lacking:
        fail(f"{images.name} has no image of {images.labels[min(lacking)]} to train on.")
    return images


def fitted(model: ModelConfig, labels: Sequence[str], size: str) -> ModelConfig:
    """Return a model with an output for each class; the full model's outputs are fixed."""
    if size == "full" and len(labels) != model.num_classes:
        fail(
            f"the data has {len(labels)} classes, and the full model tells {model.num_classes} "
            "apart: give such data with --data, or change num_classes in model.py."
        )
    return replace(model, num_classes=len(labels))


def read_labels(folder: Path) -> tuple[str, ...]:
    """Return the names of a checkpoint's classes, or stop."""
    names = read_json(folder / "config.json").get("id2label")
    if not isinstance(names, dict) or set(names) != {str(n) for n in range(len(names))}:
        fail(f"{folder / 'config.json'} names no classes: it belongs to another task.")
    return tuple(str(names[str(number)]) for number in range(len(names)))


def batch_at(
    split: Split, position: int, count: int, following: int, config: Config, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the samples at some positions of the training order: (B, C, H, W) and classes (B,).

    How a sample is varied follows from its position alone, as the order does. Images of files that
    `following` asks for, the position to be read next, are read while the model computes.
    """
    total = len(split.targets)
    places = samples_at(position, count, total, seed)
    indices = [index for _, index in places]
    pixels = split.pixels[indices]
    if isinstance(split.pixels, ImageFiles):
        split.pixels.expect(index for _, index in samples_at(following, count, total, seed))
    draws = torch.stack([_draws(seed, epoch, index) for epoch, index in places])
    return normalized(varied(pixels, draws, config), config), split.targets[indices]


def batches(split: Split, size: int, config: Config) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield all samples of a split as they are, in order: (B, C, H, W) and classes (B,)."""
    for start in range(0, len(split.targets), size):
        indices = list(range(start, min(start + size, len(split.targets))))
        yield normalized(split.pixels[indices], config), split.targets[indices]


def varied(pixels: Tensor, draws: Tensor, config: Config) -> Tensor:
    """Return images (B, C, H, W) shifted and perhaps mirrored, by draws (B, 3) from [0, 1)."""
    height, width, pad = pixels.size(2), pixels.size(3), config.crop_padding
    padded = F.pad(pixels, (pad, pad, pad, pad))
    corners = (draws[:, :2] * (2 * pad + 1)).long().tolist()
    crops = [
        image[:, top : top + height, left : left + width]
        for image, (top, left) in zip(padded, corners, strict=True)
    ]
    mirrored = (draws[:, 2] < 0.5).tolist() if config.flip else [False] * len(crops)
    return torch.stack([c.flip(-1) if m else c for c, m in zip(crops, mirrored, strict=True)])


def normalized(pixels: Tensor, config: Config) -> Tensor:
    """Return uint8 images as float32: (pixels / 255 - mean) / std."""
    return (pixels.float() / 255 - config.pixel_mean) / config.pixel_std


def preprocessor(model: ModelConfig, config: Config) -> dict[str, Any]:
    """Return preprocessor_config.json, by which transformers prepares an image as we do.

    Its processors cover squares only by the shorter side; to another shape they stretch an image.
    """
    height, width = model.image_height, model.image_width
    square = {"shortest_edge": height}
    return {
        "image_processor_type": "BitImageProcessor",
        "do_convert_rgb": model.num_channels == 3,
        "do_resize": True,
        "size": square if height == width else {"height": height, "width": width},
        "resample": 2,  # bilinear, as PIL counts them
        "do_center_crop": True,
        "crop_size": {"height": height, "width": width},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [config.pixel_mean] * model.num_channels,
        "image_std": [config.pixel_std] * model.num_channels,
    }


def _draws(seed: int, epoch: int, index: int) -> Tensor:
    number = ((seed * 1_000_003 + epoch) * 1_000_003 + index) % 2**63
    return torch.rand(3, generator=torch.Generator().manual_seed(number))


def _digits(config: Config, model: ModelConfig) -> Images:
    """Return 1,797 handwritten digits of 8 x 8 pixels, the test part of UCI's optdigits."""
    try:
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]
    except ImportError:
        fail("the bundled digits come with a library: pip install scikit-learn; or give --data.")
    found = load_digits()
    pixels = torch.from_numpy(found.images * (255 / 16)).round().to(torch.uint8)  # (N, 8, 8)
    targets = torch.from_numpy(found.target).long()
    keys = [hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in pixels]
    splits = stratified(
        targets.tolist(), keys, {"val": config.val_fraction, "test": config.test_fraction}
    )
    size = (model.image_height, model.image_width)
    scaled = F.interpolate(pixels[:, None].float(), size, mode="bilinear", antialias=True)
    images = scaled.round().to(torch.uint8).expand(-1, model.num_channels, -1, -1)
    parts = {s: torch.tensor([i for i, each in enumerate(splits) if each == s]) for s in SPLITS}
    return Images(
        BUNDLED,
        digest(pixels.numpy().tobytes(), targets.numpy().tobytes(), "".join(splits).encode()),
        tuple(str(name) for name in found.target_names),
        {split: Split(images[part], targets[part]) for split, part in parts.items()},
    )


def _folder(config: Config, path: Path, model: ModelConfig) -> Images:
    """Return the images of a folder, which stay on the disk until they are asked for."""
    if not path.is_dir():
        fail(f"{path} is no folder; it must hold a folder of images for each class.")
    files = image_files(path)
    given = {f.name for f in path.iterdir() if f.is_dir()} <= set(FOLDERS)
    depth = 2 if given else 1
    parts = [file.relative_to(path).parts for file in files]
    for file, each in zip(files, parts, strict=True):
        if len(each) <= depth:
            fail(f"{file} lies in no class: images belong in a folder of their class.")
    labels = tuple(sorted({each[depth - 1] for each in parts}))
    if len(labels) < 2:
        fail(f"{path} has the class {labels[0]} only: a classifier needs two at least.")
    numbers = {label: number for number, label in enumerate(labels)}
    targets = [numbers[each[depth - 1]] for each in parts]
    keys = file_digests(files)
    splits = [FOLDERS[each[0]] if given else "train" for each in parts]
    fractions = {"val": config.val_fraction, "test": config.test_fraction}
    lacking = {split: share for split, share in fractions.items() if split not in splits}
    rest = [i for i, split in enumerate(splits) if split == "train"]
    cut = stratified([targets[i] for i in rest], [keys[i] for i in rest], lacking)
    for index, split in zip(rest, cut, strict=True):
        splits[index] = split
    held_out = {key for key, split in zip(keys, splits, strict=True) if split != "train"}
    size, found = (model.image_height, model.image_width), {}
    for split in SPLITS:
        chosen = [i for i, each in enumerate(splits) if each == split]
        if split == "train":  # never on what is a held-out image too
            chosen = [i for i in chosen if keys[i] not in held_out]
        pixels = ImageFiles([files[i] for i in chosen], size, model.num_channels)
        found[split] = Split(pixels, torch.tensor([targets[i] for i in chosen]))
    names = ("\0".join((split, *each)) for split, each in zip(splits, parts, strict=True))
    entries = (f"{name}\0{key}\n".encode() for name, key in zip(names, keys, strict=True))
    return Images(path.name, digest(*entries), labels, found)


def stratified(
    targets: Sequence[int], keys: Sequence[str], fractions: Mapping[str, float]
) -> list[str]:
    """Return the split of each sample: the same share of every class, the rest `train`.

    Samples lie in the order of their keys, which are digests of what they show: so the cut follows
    no order of files, and equal images come to the same split.

    Args:
        targets: The class of each sample.
        keys: A digest of each sample.
        fractions: The share of each split that is cut off.
    """
    groups: dict[int, set[str]] = {}
    for target, key in zip(targets, keys, strict=True):
        groups.setdefault(target, set()).add(key)
    split_of: dict[tuple[int, str], str] = {}
    for target, own in groups.items():
        start, ordered = 0, sorted(own)
        for split, share in fractions.items():
            stop = start + round(share * len(own))
            split_of |= {(target, key): split for key in ordered[start:stop]}
            start = stop
    return [split_of.get(place, "train") for place in zip(targets, keys, strict=True)]


def main() -> None:
    """Read the images once, and show how many there are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=existing, metavar="PATH", help="images (default: digits)")
    parser.add_argument("--size", choices=("proxy", "full"), default="proxy")
    args = parser.parse_args()
    model = load_config(ModelConfig, "model", args.size)
    config = load_config(Config, "data", args.size)
    images = load_images(config, args.data, model)
    shape = f"{model.image_height} x {model.image_width} x {model.num_channels}"
    print(f"{images.name}, sha256 {images.sha256}")
    print(f"{len(images.labels)} classes; images become {shape}")
    for split, samples in images.splits.items():
        for _ in batches(samples, READ_AT_ONCE, config):
            pass
        counts = Counter(samples.targets.tolist()).values()
        print(
            f"{split:>5}: {len(samples.targets):,} images, {min(counts)} to {max(counts)} a class"
        )


if __name__ == "__main__":
    run(main)
