"""Read images and their classes, bundled or your own, and hold some of the classes out.

    python data.py --data PATH    reads each image once, and shows what training will read

PATH holds a folder of images for each class, PATH/CLASS/any/name.png; classes are then cut into
splits, so that scores are those of classes that training never saw. Or PATH holds the splits,
PATH/train/CLASS/name.png, and also `val` and `test`; a missing one is cut from `train`. Or PATH is
a Parquet file with images and labels, or a folder of them, as on the Hugging Face Hub. Without
--data, the script draws letters in eight faces of fonts. Hidden files are no data.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from model import Config as ModelConfig
from runtime.digests import digest, split_of
from runtime.errors import run
from runtime.examples import Example, examples_digest, read_examples, without_copies
from runtime.image_batches import (
    Images,
    Pixels,
    Split,
    batches,
    chosen_at,
    drawn,
    of_files,
    shown,
)
from runtime.letters import letters
from runtime.notes import note
from runtime.options import data_options
from runtime.order import samples_at
from runtime.pixels import survey
from runtime.settings import load_config
from runtime.splits import SPLITS, require_samples, shares_left

BUNDLED = "turned_letters"
PAIR = 2  # A class of a single image has no other to be found.
TURNS = 6  # drawings of a letter in a face for training; with few, new letters are not told apart


@dataclass(frozen=True)
class Config(Pixels):
    """How images become samples."""

    val_fraction: float = 0.1
    """Share of the classes for validation during training."""
    test_fraction: float = 0.1
    """Share of the classes that only eval.py reads."""
    views: int = 4
    """Images of a class that follow each other in the training order."""


def load_images(config: Config, path: Path | None, model: ModelConfig) -> Images:
    """Return the images of a path at the model's size, or the bundled ones, or stop."""
    images = _letters(config, model) if path is None else _folder(config, path, model)
    sizes = {split: _with_another(samples.targets) for split, samples in images.splits.items()}
    require_samples(images.name, "images of classes with several", sizes, PAIR)
    for split in ("val", "test"):
        known = set(images.splits["train"].targets.tolist())
        own = set(images.splits[split].targets.tolist())
        if shared := len(own & known):
            note(
                f"{images.name}: {shared:,} of {len(own):,} classes of {split} are in train too, "
                "so scores are not those of new classes alone."
            )
        if alone := len(images.splits[split].targets) - sizes[split]:
            note(f"{images.name}: {alone:,} {split} images are the only ones of their class.")
    return images


def _with_another(targets: Tensor) -> int:
    """Return how many samples have another one of their class."""
    counts = torch.bincount(targets)
    return int(counts[counts >= PAIR].sum())


class Order:
    """The training order: a shuffled stream of classes, each with some of its images in a row.

    A contrast needs images of one class in each update, which a plain shuffle seldom brings.
    """

    def __init__(self, targets: Tensor, views: int) -> None:
        self.views = views
        members: dict[int, list[int]] = {}
        for index, target in enumerate(targets.tolist()):
            members.setdefault(target, []).append(index)
        # A class with many images comes up more often, so that an epoch sees about all of them.
        self.turns = [own for own in members.values() for _ in range(-(-len(own) // views))]

    def places(self, position: int, count: int, seed: int) -> list[tuple[int, int]]:
        """Return (epoch, index) of the samples at some positions."""
        chosen = []
        for place in range(position, position + count):
            row, turn = divmod(place, self.views)
            ((epoch, which),) = samples_at(row, 1, len(self.turns), seed)
            own = list(self.turns[which])
            # The position alone decides the images, so a resumed run repeats them.
            random.Random(f"{seed} {row}").shuffle(own)
            chosen.append((epoch * self.views + turn, own[turn % len(own)]))
        return chosen


def batch_at(
    split: Split,
    order: Order,
    position: int,
    count: int,
    following: int,
    config: Config,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Return the samples at some positions of the training order: (B, C, H, W) and classes (B,).

    `following` is the position of the next call: its image files are read while the model computes.
    """
    places, coming = (order.places(at, count, seed) for at in (position, following))
    return chosen_at(split, places, coming, config, seed)


def _letters(config: Config, model: ModelConfig) -> Images:
    """Return the bundled letters at the model's size."""
    side = min(model.image_height, model.image_width)

    def split(label: str) -> str:
        return split_of(label, config.val_fraction, config.test_fraction)

    found = list(letters(side, lambda label: TURNS if split(label) == "train" else 1))
    total = digest(*(each.pixels.tobytes() + each.label.encode() for each in found))
    splits = [split(each.label) for each in found]
    labels = tuple(sorted({each.label for each in found}))
    height, width = model.image_height - side, model.image_width - side
    parts = {}
    for name in SPLITS:
        own = [each for each, of in zip(found, splits, strict=True) if of == name]
        pixels = torch.stack([torch.from_numpy(each.pixels) for each in own])
        pixels = torch.nn.functional.pad(pixels, (0, width, 0, height))
        targets = torch.tensor([labels.index(each.label) for each in own])
        parts[name] = drawn(pixels, targets, model)
    return Images(BUNDLED, total, labels, parts)


def _folder(config: Config, path: Path, model: ModelConfig) -> Images:
    """Return the images of a path; files stay on the disk until a batch needs them."""
    examples = _cut(read_examples(path), config)
    # A colour image that a grey model reads, or a scan of 12 bits, is not what its owner sees.
    survey([each.file for each in examples]).say(model.num_channels)
    labels = sorted({each.label for each in examples})
    numbers = {label: number for number, label in enumerate(labels)}
    splits = {}
    for split in SPLITS:
        own = sorted((each for each in examples if each.split == split), key=lambda e: e.label)
        targets = torch.tensor([numbers[each.label] for each in own], dtype=torch.int64)
        splits[split] = of_files([each.file for each in own], targets, model)
    return Images(path.name, examples_digest(examples), tuple(labels), splits)


def _cut(examples: Sequence[Example], config: Config) -> list[Example]:
    """Return examples with the splits that the folder lacks cut from the classes of train."""
    # A digest of the class decides its split, so new images move no old ones.
    left = shares_left({e.split for e in examples}, config.val_fraction, config.test_fraction)
    cut = [
        replace(e, split=split_of(e.label, *left)) if e.split == "train" else e for e in examples
    ]
    return without_copies(cut)


def held_out(split: Split, size: int, config: Config) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the full batches of a split, unchanged and in order.

    A smaller batch has fewer wrong partners, and so a smaller loss that cannot be compared.
    """
    size = min(size, len(split.targets))
    yield from (each for each in batches(split, size, config) if len(each[1]) == size)


def main() -> None:
    """Read the images once, and show how many there are."""
    args = data_options(__doc__, data="images (default: letters)").parse_args()
    model = load_config(ModelConfig, "model", args.size)
    config = load_config(Config, "data", args.size)
    images = load_images(config, args.data, model)
    shape = f"{model.image_height} x {model.image_width} x {model.num_channels}"
    print(f"{images.name}, sha256 {images.sha256}")
    print(f"{len(images.labels)} classes; images become {shape}")

    def counted(split: str, samples: Split) -> Iterator[str]:
        counts = Counter(samples.targets.tolist()).values()
        total, least, most = len(samples.targets), min(counts), max(counts)
        yield f"{split:>5}: {total:,} images of {len(counts):,} classes, {least} to {most} a class"

    print(*shown(images.splits, config, args.data, counted), sep="\n")


if __name__ == "__main__":
    run(main)
