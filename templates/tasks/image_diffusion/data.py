"""Read images with captions, bundled or your own, and cut them into train, val and test splits.

    python data.py --data PATH     shows what training will read

PATH is a folder of images in the imagefolder form. Either each class has a folder whose name is the
caption (PATH/cat/1.png), or PATH/metadata.jsonl has a line for each image,
{"file_name": "1.png", "text": "a cat on a chair"}; metadata.csv and metadata.parquet work too.
Folders named train, val and test hold these splits, each in this form; a missing one is cut from
train. Or PATH is a Parquet file with columns of images and `text`, or a folder of them, as on the
Hugging Face Hub.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from model import Config as ModelConfig
from model import conditions
from runtime.captions import Captions, has_metadata, read_captions, splits_of
from runtime.digests import digest, split_of
from runtime.digits import handwritten_digits
from runtime.errors import fail, run
from runtime.images import list_images, read_image
from runtime.options import data_options
from runtime.order import samples_at
from runtime.pixels import Picture, survey
from runtime.settings import load_config
from runtime.splits import SPLITS, require_samples, shares_left, split_folders
from runtime.stored import digests_of, list_pictures

BUNDLED = "digits"
BUNDLED_SIZE = (8, 8, 1)  # height, width, channels
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Config:
    """How images become samples, and how noise is added."""

    noise_schedule: str = "cosine"
    """Growth of noise from level to level: cosine; or linear, which hides small images too soon."""
    timesteps: int = 1000
    """Noise levels from the image to pure noise."""
    val_fraction: float = 0.05
    """Share of the images for validation during training."""
    test_fraction: float = 0.1
    """Share of the images that only eval.py reads."""


@dataclass(frozen=True)
class Split:
    """Some of the images.

    Attributes:
        captions: The caption of each image.
        read: Returns the pixels of an image, (C, H, W) as uint8, by its place.
    """

    captions: list[str]
    read: Callable[[int], Tensor]

    def __len__(self) -> int:
        return len(self.captions)

    def images(self, places: Sequence[int]) -> Tensor:
        """Return some images, (B, C, H, W) of -1 to 1."""
        # Values from -1 to 1 have their centre at 0, like pure noise.
        return torch.stack([self.read(place) for place in places]).float() / 127.5 - 1


@dataclass(frozen=True)
class Dataset:
    """Images with captions in three splits.

    Attributes:
        name: Name in reports.
        sha256: Digest of all images and captions.
        classes: The distinct captions where images share them; empty if most images have their own.
        splits: The images by split.
    """

    name: str
    sha256: str
    classes: list[str]
    splits: dict[str, Split]


def load_images(config: Config, path: Path | None, model: ModelConfig) -> Dataset:
    """Return the images of a folder, or the bundled ones, or stop if they do not fit the model.

    Args:
        config: Sizes of the splits.
        path: The folder; None for the bundled digits.
        model: Sets the size of an image, and how captions become conditions.
    """
    size = (model.image_height, model.image_width, model.image_channels)
    data = _digits(config, size) if path is None else _folder(config, path, size)
    require_samples(data.name, "images", {split: len(each) for split, each in data.splits.items()})
    # All captions are encoded once here, so that one that the model cannot take stops the run now,
    # not in the middle of an epoch.
    try:
        conditions(
            model, [c for split in data.splits.values() for c in split.captions], data.classes
        )
    except ValueError as error:
        fail(f"{data.name} does not fit this model: {error}.")
    return data


def batch_at(
    split: Split, start: int, count: int, model: ModelConfig, classes: list[str], seed: int
) -> tuple[Tensor, Tensor]:
    """Return images (B, C, H, W) at some places of the training order, and their conditions."""
    # Seed and position decide the images, so a resumed run continues with the same ones.
    places = [index for _, index in samples_at(start, count, len(split), seed)]
    # Images are not mirrored: a mirrored digit or letter no longer fits its caption.
    return _batch(split, places, model, classes)


def batches(
    split: Split, size: int, model: ModelConfig, classes: list[str]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the images of a split once, in batches, with their conditions."""
    # Val images keep their order, so losses of different steps are comparable.
    for start in range(0, len(split), size):
        yield _batch(split, range(start, min(start + size, len(split))), model, classes)


def _batch(
    split: Split, places: Sequence[int], model: ModelConfig, classes: list[str]
) -> tuple[Tensor, Tensor]:
    # Conditions are made per batch: embeddings of all captions would fill the memory.
    captions = [split.captions[place] for place in places]
    return split.images(places), conditions(model, captions, classes)  # (B, C, H, W), (B, ...)


def _digits(config: Config, size: tuple[int, int, int]) -> Dataset:
    """Return handwritten digits (UCI optdigits), with their names in English as captions."""
    # Digits of 8 x 8 pixels, scaled up, would teach a larger model only blur.
    if size != BUNDLED_SIZE:
        fail("this size needs your own images: name their folder with --data.")
    pixels, digits = handwritten_digits()
    names = [DIGITS[digit] for digit in digits.tolist()]
    # Keys are digests of pixels, so copies of an image are in the same split.
    keys = [digest(image.numpy().tobytes()) for image in pixels]
    total = digest(pixels.numpy().tobytes(), "\0".join(names).encode())
    splits = _cut(config, keys, names, lambda place: pixels[place][None])
    return Dataset(BUNDLED, total, list(DIGITS), splits)


def _folder(config: Config, folder: Path, size: tuple[int, int, int]) -> Dataset:
    """Return the images below a folder; copies of an image are in the same split."""
    # The folder's digest covers names, captions and pixels: a change of any makes another data set.
    height, width, channels = size
    found = _captions(folder)
    captions = dict(sorted(found.rows))
    files = [found.files[name] for name in captions]
    survey(files).say(channels)
    # Names of files do not decide the split, or a renamed image could move from train to test.
    keys, texts = digests_of(files), list(captions.values())
    rows = zip(captions, texts, keys, strict=True)
    total = digest(*(f"{name}\0{text}\0{key}\n".encode() for name, text, key in rows))

    def read(place: int) -> Tensor:
        # Files are read when a batch needs them: a large folder does not fit in memory.
        return read_image(files[place], (height, width), channels)

    # Captions with two or more images on average are names of classes; otherwise they are
    # descriptions.
    distinct = sorted(set(texts))
    classes = distinct if 2 * len(distinct) <= len(texts) else []
    named = [found.splits.get(name) for name in captions]
    splits = _cut(config, keys, texts, read, named)
    return Dataset(folder.resolve().name, total, classes, splits)


def _cut(
    config: Config,
    keys: Sequence[str],
    captions: Sequence[str],
    read: Callable[[int], Tensor],
    named: Sequence[str | None] = (),
) -> dict[str, Split]:
    """Return the splits; an image's key alone decides its split, so new images move no old ones.

    Args:
        config: Sizes of the splits.
        keys: A digest of each image.
        captions: Its caption.
        read: Returns its pixels.
        named: The split of its folder; a split that none names is cut from train.
    """
    left = shares_left(named, config.val_fraction, config.test_fraction)
    places: dict[str, list[int]] = {split: [] for split in SPLITS}
    for place, key in enumerate(keys):
        own = named[place] if named else None
        # The key is hashed to a number from 0 to 1, so the shares of the splits are approximate.
        cut = split_of(key, *left) if own in (None, "train") else own
        places[str(cut)].append(place)

    def cut_out(chosen: list[int]) -> Split:
        return Split([captions[place] for place in chosen], lambda index: read(chosen[index]))

    return {split: cut_out(chosen) for split, chosen in places.items()}


def _captions(folder: Path) -> Captions:
    """Return the caption of each image by its path in the folder."""
    if has_metadata(folder):
        return read_captions(folder)
    found = list_images(folder)
    names = [file.relative_to(folder) for file in found.files]
    splits = split_folders(folder, {name.parts[0] for name in names if len(name.parts) > 1})
    # An image without a caption would train as a class of its own, with an empty name.
    loose = [name for name in names if len(name.parts) < (3 if splits else 2)]
    if loose:
        fail(
            f"{folder / loose[0]} has no caption: put it in a folder that is named after its "
            "class, or write metadata.jsonl."
        )
    rows = [(name.as_posix(), name.parent.name) for name in names]
    files: dict[str, Picture] = {name: folder / name for name, _ in rows}
    return Captions([], files, rows, splits_of(files, splits))


def main() -> None:
    """Show what training will read."""
    args = data_options(__doc__, data="folder of images (default: bundled digits)").parse_args()
    model = load_config(ModelConfig, "model", args.size)
    data = load_images(load_config(Config, "data", args.size), args.data, model)
    print(f"{data.name}, sha256 {data.sha256}")
    print(f"images of {model.image_height} x {model.image_width}, {model.image_channels} channels")
    if args.data:
        files = [*_captions(args.data).files.values()]
        print(*survey(files).lines(), *list_pictures(args.data).left_out(), sep="\n")
    for name, split in data.splits.items():
        print(f"{name:>5}: {len(split):,} images")
    captions = sorted({caption for split in data.splits.values() for caption in split.captions})
    # A user sees here whether the folder names were read as captions as intended.
    shown = ", ".join(repr(caption) for caption in captions[:10])
    print(f"{len(captions):,} captions: {shown}{', ...' if len(captions) > 10 else ''}")


if __name__ == "__main__":
    run(main)
