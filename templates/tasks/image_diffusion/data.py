"""Images with captions, cut into train, val and test splits: bundled digits, or your own folder.

    python data.py --data PATH     shows what training will read

PATH is a folder of images in the imagefolder form. Either each class has a folder whose name is the
caption (PATH/cat/1.png), or PATH/metadata.jsonl has a line for each image,
{"file_name": "1.png", "text": "a cat on a chair"}; metadata.csv and metadata.parquet do as well.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from model import Config as ModelConfig
from model import conditions
from runtime.captions import has_metadata, read_captions
from runtime.digests import digest, file_digests, split_of
from runtime.digits import handwritten_digits
from runtime.errors import fail, run
from runtime.images import image_files, read_image
from runtime.options import data_options
from runtime.order import samples_at
from runtime.settings import load_config
from runtime.splits import SPLITS, require_samples

BUNDLED = "digits"
BUNDLED_SIZE = (8, 8, 1)  # height, width, channels
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Config:
    """How images become samples, and samples noise."""

    noise_schedule: str = "cosine"
    """How noise grows from level to level: cosine, or linear, which drowns small images early."""
    timesteps: int = 1000
    """Noise levels from the image to pure noise."""
    val_fraction: float = 0.05
    """Share of the images on which training is watched."""
    test_fraction: float = 0.1
    """Share of the images that only eval.py reads."""


@dataclass(frozen=True)
class Split:
    """Some of the images.

    Attributes:
        captions: The caption of each image.
        read: Returns the pixels of one, (C, H, W) as uint8, by its place.
    """

    captions: list[str]
    read: Callable[[int], Tensor]

    def __len__(self) -> int:
        return len(self.captions)

    def images(self, places: Sequence[int]) -> Tensor:
        """Return some images, (B, C, H, W) of -1 to 1."""
        # From -1 to 1, so that pure noise, with its mean of 0, is centred on the same value.
        return torch.stack([self.read(place) for place in places]).float() / 127.5 - 1


@dataclass(frozen=True)
class Dataset:
    """Images with captions in three splits.

    Attributes:
        name: What it is called in reports.
        sha256: Digest of all images and captions.
        classes: The distinct captions where images share them; empty where most have their own.
        splits: The images by split.
    """

    name: str
    sha256: str
    classes: list[str]
    splits: dict[str, Split]


def load_images(config: Config, path: Path | None, model: ModelConfig) -> Dataset:
    """Return the images of a folder, or the bundled ones, or stop where they do not fit the model.

    Args:
        config: Says how large the splits are.
        path: The folder; None for the bundled digits.
        model: Says how large an image is, and how the model takes captions.
    """
    size = (model.image_height, model.image_width, model.image_channels)
    data = _digits(config, size) if path is None else _folder(config, path, size)
    require_samples(data.name, "images", {split: len(each) for split, each in data.splits.items()})
    # All captions are tried at once: a class that the model cannot take stops the run here, not
    # in the middle of an epoch.
    try:
        conditions(
            model, [c for split in data.splits.values() for c in split.captions], data.classes
        )
    except ValueError as error:
        fail(f"{data.name} does not suit this model: {error}.")
    return data


def batch_at(
    split: Split, start: int, count: int, model: ModelConfig, classes: list[str], seed: int
) -> tuple[Tensor, Tensor]:
    """Return images (B, C, H, W) at some places of the training order, and their conditions."""
    places = [index for _, index in samples_at(start, count, len(split), seed)]
    return _batch(split, places, model, classes)


def batches(
    split: Split, size: int, model: ModelConfig, classes: list[str]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the images of a split once, in batches, with their conditions."""
    for start in range(0, len(split), size):
        yield _batch(split, range(start, min(start + size, len(split))), model, classes)


def _batch(
    split: Split, places: Sequence[int], model: ModelConfig, classes: list[str]
) -> tuple[Tensor, Tensor]:
    captions = [split.captions[place] for place in places]
    return split.images(places), conditions(model, captions, classes)


def _digits(config: Config, size: tuple[int, int, int]) -> Dataset:
    """Return handwritten digits (UCI optdigits), with their names in English as captions."""
    # Digits of 8 x 8 pixels scaled up would teach a larger model nothing but blur.
    if size != BUNDLED_SIZE:
        fail("this size is for your own images: name their folder by --data.")
    pixels, digits = handwritten_digits()
    names = [DIGITS[digit] for digit in digits.tolist()]
    # Keys are digests of pixels: the same picture twice must not stand on both sides of a split.
    keys = [digest(image.numpy().tobytes()) for image in pixels]
    total = digest(pixels.numpy().tobytes(), "\0".join(names).encode())
    splits = _cut(config, keys, names, lambda place: pixels[place][None])
    return Dataset(BUNDLED, total, list(DIGITS), splits)


def _folder(config: Config, folder: Path, size: tuple[int, int, int]) -> Dataset:
    """Return the images below a folder; copies of an image are in the same split."""
    height, width, channels = size
    captions = _captions(folder)
    paths = [folder / name for name in captions]
    keys, texts = file_digests(paths), list(captions.values())
    rows = zip(captions, texts, keys, strict=True)
    total = digest(*(f"{name}\0{text}\0{key}\n".encode() for name, text, key in rows))

    def read(place: int) -> Tensor:
        return read_image(paths[place], (height, width), channels)

    # Captions that have two images or more on average are names of classes, else descriptions.
    distinct = sorted(set(texts))
    classes = distinct if 2 * len(distinct) <= len(texts) else []
    splits = _cut(config, keys, texts, read)
    return Dataset(folder.resolve().name, total, classes, splits)


def _cut(
    config: Config, keys: Sequence[str], captions: Sequence[str], read: Callable[[int], Tensor]
) -> dict[str, Split]:
    """Return the splits; the key of an image alone decides its split, so more images move none."""
    places: dict[str, list[int]] = {split: [] for split in SPLITS}
    for place, key in enumerate(keys):
        places[split_of(key, config.val_fraction, config.test_fraction)].append(place)

    def cut(chosen: list[int]) -> Split:
        return Split([captions[place] for place in chosen], lambda index: read(chosen[index]))

    return {split: cut(chosen) for split, chosen in places.items()}


def _captions(folder: Path) -> Mapping[str, str]:
    """Return the caption of each image by its path in the folder, sorted by these paths."""
    names = [file.relative_to(folder) for file in image_files(folder)]
    if has_metadata(folder):
        return dict(sorted(read_captions(folder)[1]))
    loose = [name for name in names if not name.parent.name]
    if loose:
        fail(
            f"{folder / loose[0]} has no caption: put it in a folder that is named after its "
            "class, or write metadata.jsonl."
        )
    return {str(name): name.parent.name for name in names}


def main() -> None:
    """Show what training will read."""
    args = data_options(__doc__, data="folder of images (default: bundled digits)").parse_args()
    model = load_config(ModelConfig, "model", args.size)
    data = load_images(load_config(Config, "data", args.size), args.data, model)
    print(f"{data.name}, sha256 {data.sha256}")
    print(f"images of {model.image_height} x {model.image_width}, {model.image_channels} channels")
    for name, split in data.splits.items():
        print(f"{name:>5}: {len(split):,} images")
    captions = sorted({caption for split in data.splits.values() for caption in split.captions})
    shown = ", ".join(repr(caption) for caption in captions[:10])
    print(f"{len(captions):,} captions: {shown}{', ...' if len(captions) > 10 else ''}")


if __name__ == "__main__":
    run(main)
