"""Read images with a number each, bundled or your own, and cut them into train, val and test.

    python data.py --data PATH                   reads each image once, and shows what training will
    python data.py --data PATH --target price    if the numbers are in another column

PATH is a folder with a metadata.csv, metadata.jsonl or metadata.parquet. Each row has a
`file_name`, which is an image in the folder, and a `target`. Folders named train, val and test hold
these splits, each in this form; a missing one is cut from train. Or PATH is a Parquet file with
columns of images and `target`, or a folder of them, as on the Hub. Without --data, the script turns
handwritten digits by known angles.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from model import Config as ModelConfig
from runtime.captions import read_captions
from runtime.digests import digest, split_of
from runtime.errors import fail, run
from runtime.examples import Example, examples_digest, without_copies
from runtime.image_batches import Pixels, Split, drawn, of_files, shown
from runtime.options import data_options
from runtime.pixels import survey
from runtime.settings import load_config
from runtime.splits import SPLITS, require_samples, shares_left
from runtime.stored import digests_of
from runtime.tables import described
from runtime.targets import TARGET, Target, Values, numbers_of, target_of, target_option
from runtime.turned_digits import turned_digits

BUNDLED = "turned_digits"
ANGLE = "angle in degrees"
TURNS = 2  # images of a training digit; one of val or test has its first alone


@dataclass(frozen=True)
class Config(Pixels):
    """How images become samples."""

    val_fraction: float = 0.1
    """Share of the images for validation during training."""
    test_fraction: float = 0.1
    """Share of the images that only eval.py reads."""


@dataclass(frozen=True)
class Images:
    """Images in three splits, with a number each.

    Attributes:
        name: Name in reports.
        sha256: Digest of all images with their numbers and splits.
        target: What the numbers are, and their scale over the train split.
        splits: The samples by split, with their numbers on that scale.
        values: The numbers themselves, by split.
    """

    name: str
    sha256: str
    target: Target
    splits: dict[str, Split]
    values: dict[str, Values]


def load_images(config: Config, path: Path | None, column: str, model: ModelConfig) -> Images:
    """Return the images of a path at the model's size, or the bundled ones, or stop.

    Args:
        config: Sizes of the splits.
        path: The data; None for the bundled set.
        column: The column of the numbers in the data of a path.
        model: Sets size and channels.
    """
    if path is not None:
        return _listed(config, path, column, model)
    if column not in (TARGET, ANGLE):
        fail(f"the bundled images have no {column!r}: name the data that has it by --data.")
    return _digits(config, model)


def _digits(config: Config, model: ModelConfig) -> Images:
    """Return the bundled digits at the model's size."""
    found = list(turned_digits(TURNS))
    fractions = config.val_fraction, config.test_fraction
    # The digit decides the split, so that training never sees a digit of val or test.
    splits = [split_of(each.key, *fractions) for each in found]
    # Two images of one digit in a score would be less evidence than they seem.
    chosen = [s if s == "train" or n % TURNS == 0 else "" for n, s in enumerate(splits)]
    pixels = torch.from_numpy(np.stack([each.pixels for each in found]))
    angles = np.array([each.angle for each in found])
    size = (model.image_height, model.image_width)
    # Without antialias, a smaller model would drop rows of the 28 x 28 pixels.
    scaled = F.interpolate(pixels[:, None].float(), size, mode="bilinear", antialias=True)
    grey = scaled.round().to(torch.uint8)[:, 0]
    parts = {split: np.flatnonzero(np.array(chosen) == split) for split in SPLITS}
    values = {split: angles[part] for split, part in parts.items()}
    target = target_of(BUNDLED, ANGLE, values["train"])
    total = digest(pixels.numpy().tobytes(), angles.tobytes(), " ".join(chosen).encode())
    made = {
        split: drawn(grey[torch.from_numpy(part)], target.standardized(values[split]), model)
        for split, part in parts.items()
    }
    return Images(BUNDLED, total, target, made, values)


def _listed(config: Config, path: Path, column: str, model: ModelConfig) -> Images:
    """Return the images of a path; files stay on the disk until a batch needs them."""
    examples = _cut(_examples(path, column), config)
    # A colour image that a grey model reads, or a scan of 12 bits, is not what its owner sees.
    survey([each.file for each in examples]).say(model.num_channels)
    words = [each.label for each in examples]
    # All splits are read in one way: a decimal comma in one of them tells how to read the others.
    numbers = numbers_of(path, column, words, [f"{path}, {each.name}" for each in examples])
    read = [replace(e, label=str(n)) for e, n in zip(examples, numbers, strict=True)]
    kept = without_copies(read)
    of_split = {split: [each for each in kept if each.split == split] for split in SPLITS}
    require_samples(path.name, "images", {split: len(each) for split, each in of_split.items()})
    values = {s: np.array([float(each.label) for each in some]) for s, some in of_split.items()}
    target = target_of(path.name, column, values["train"])
    splits = {
        split: of_files([each.file for each in some], target.standardized(values[split]), model)
        for split, some in of_split.items()
    }
    total = digest(examples_digest(examples).encode(), "\0".join(words).encode())
    return Images(path.name, total, target, splits, values)


def _examples(path: Path, column: str) -> list[Example]:
    """Return the images of a path, each with its number as it is written, or stop."""
    found = read_captions(path, (column,))
    twice = [name for name, count in Counter(name for name, _ in found.rows).items() if count > 1]
    if twice:
        fail(f"{path} has two rows of {twice[0]}: keep the one with the right {column!r}.")
    keys = digests_of([found.files[name] for name, _ in found.rows])
    return [
        Example(found.files[name], name, word, found.splits.get(name, "train"), key)
        for (name, word), key in zip(found.rows, keys, strict=True)
    ]


def _cut(examples: Sequence[Example], config: Config) -> list[Example]:
    """Return examples with the splits that the data lacks cut from train."""
    # A digest of the image decides its split, so new images move no old ones, and copies stay
    # together.
    left = shares_left({e.split for e in examples}, config.val_fraction, config.test_fraction)
    return [replace(e, split=split_of(e.key, *left)) if e.split == "train" else e for e in examples]


def main() -> None:
    """Read the images once, and show how many there are."""
    parser = data_options(__doc__, data="images (default: digits)")
    target_option(parser)
    args = parser.parse_args()
    model = load_config(ModelConfig, "model", args.size)
    config = load_config(Config, "data", args.size)
    images = load_images(config, args.data, args.target, model)
    target, shape = images.target, f"{model.image_height} x {model.image_width}"
    print(f"{images.name}, sha256 {images.sha256}")
    print(f"images become {shape} x {model.num_channels}")
    print(f"target: {target.name}, mean {target.mean:.4g}, deviation {target.std:.4g} in train")

    def ranges(split: str, samples: Split) -> Iterator[str]:
        values = images.values[split]
        yield f"{split:>5}: {len(values):,} images, {described(target.name, values)}"

    print(*shown(images.splits, config, args.data, ranges), sep="\n")


if __name__ == "__main__":
    run(main)
