"""Read images and their classes, bundled or your own, and cut them into train, val and test splits.

    python data.py --data PATH    reads each image once, and shows what training will read

PATH holds a folder of images for each class, PATH/CLASS/any/name.png; each class is then cut into
splits. Or PATH holds the splits, PATH/train/CLASS/name.png, and also `val` and `test`; a missing
one is cut from `train`. Or PATH is a Parquet file with images and labels, or a folder of them, as
on the Hugging Face Hub. Without --data, the script reads small digits. Hidden files are no data.
What may surprise in the data, train.py says too, on standard error.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F

from model import Config as ModelConfig
from runtime.digests import digest
from runtime.digits import handwritten_digits
from runtime.errors import fail, run
from runtime.examples import Example, examples_digest, read_examples, without_copies
from runtime.image_batches import Images, Pixels, Split, drawn, of_files, shown
from runtime.labels import require_outputs, say_untested, untested
from runtime.listing import printable
from runtime.options import data_options
from runtime.pixels import survey
from runtime.settings import load_config
from runtime.splits import SPLITS, require_samples

BUNDLED = "digits"
MOST_SHOWN = 20  # classes that data.py counts by name


@dataclass(frozen=True)
class Config(Pixels):
    """How images become samples."""

    val_fraction: float = 0.1
    """Share of each class for validation during training."""
    test_fraction: float = 0.1
    """Share of each class that only eval.py reads."""


def load_images(config: Config, path: Path | None, model: ModelConfig) -> Images:
    """Return the images of a path at the model's size, or the bundled ones, or stop."""
    images = _digits(config, model) if path is None else _folder(config, path, model)
    sizes = {split: len(samples.targets) for split, samples in images.splits.items()}
    require_samples(images.name, "images", sizes)
    # Most classifiers would never predict a class that no training image has, and its score of 0
    # would look like a fault of the model.
    missing = set(range(len(images.labels))) - set(images.splits["train"].targets.tolist())
    if missing:
        fail(f"{images.name} has no training image of {images.labels[min(missing)]!r}: add some.")
    for split in ("val", "test"):
        absent = untested(images.labels, images.splits[split].targets.tolist())
        say_untested(f"{images.name} has no {split} image", absent)
    return images


def fitted(model: ModelConfig, labels: Sequence[str], size: str) -> ModelConfig:
    """Return a model with an output for each class; the full model's outputs are fixed."""
    # The proxy takes any number of classes, because its job is to test the code; the full model's
    # size was computed for a fixed number.
    if size == "full":
        require_outputs(labels, model.num_classes)
    return replace(model, num_classes=len(labels))


def _digits(config: Config, model: ModelConfig) -> Images:
    """Return the bundled digits at the model's size."""
    pixels, targets = handwritten_digits()
    # Digests decide the split, as for a user's folder, so the order of the library does not matter.
    keys = [digest(image.numpy().tobytes()) for image in pixels]
    fractions = {"val": config.val_fraction, "test": config.test_fraction}
    names = [str(target) for target in targets.tolist()]
    splits = stratified(names, keys, fractions)
    size = (model.image_height, model.image_width)
    # The digits have 8 x 8 pixels. Without antialias, a smaller model would drop rows of them.
    scaled = F.interpolate(pixels[:, None].float(), size, mode="bilinear", antialias=True)
    grey = scaled.round().to(torch.uint8)[:, 0]
    parts = {s: torch.tensor([i for i, each in enumerate(splits) if each == s]) for s in SPLITS}
    return Images(
        BUNDLED,
        digest(pixels.numpy().tobytes(), targets.numpy().tobytes(), "".join(splits).encode()),
        tuple(sorted(set(names))),
        {split: drawn(grey[part], targets[part], model) for split, part in parts.items()},
    )


def _folder(config: Config, path: Path, model: ModelConfig) -> Images:
    """Return the images of a path; files stay on the disk until a batch needs them."""
    fractions = {"val": config.val_fraction, "test": config.test_fraction}
    examples = _cut(read_examples(path), fractions)
    # A colour image that a grey model reads, or a scan of 12 bits, is not what its owner sees.
    survey([each.file for each in examples]).say(model.num_channels)
    # Alphabetical order fixes the number of a class; the order of a directory differs by machine.
    labels = sorted({each.label for each in examples})
    numbers = {label: number for number, label in enumerate(labels)}
    splits = {}
    for split in SPLITS:
        chosen = [each for each in without_copies(examples) if each.split == split]
        targets = torch.tensor([numbers[each.label] for each in chosen])
        splits[split] = of_files([each.file for each in chosen], targets, model)
    return Images(path.name, examples_digest(examples), tuple(labels), splits)


def _cut(examples: list[Example], fractions: Mapping[str, float]) -> list[Example]:
    """Return examples with the splits that the folder lacks cut from train."""
    named = {each.split for each in examples}
    missing = {split: share for split, share in fractions.items() if split not in named}
    rest = [each for each in examples if each.split == "train"]
    splits = iter(stratified([each.label for each in rest], [each.key for each in rest], missing))
    return [replace(e, split=next(splits)) if e.split == "train" else e for e in examples]


def stratified(
    labels: Sequence[str], keys: Sequence[str], fractions: Mapping[str, float]
) -> list[str]:
    """Return the split of each sample: the same share of every class, the rest `train`.

    Each class is sorted by its keys, which are digests of the images, and cut from the start. Names
    and order of files do not matter, and equal images are in the same split.

    Args:
        labels: The class of each sample.
        keys: A digest of each sample.
        fractions: The share of each split other than train.
    """
    classes: dict[str, set[str]] = {}
    for label, key in zip(labels, keys, strict=True):
        classes.setdefault(label, set()).add(key)
    splits: dict[tuple[str, str], str] = {}
    # A random cut of all images could leave a rare class without any test image, so each class is
    # cut separately.
    for label, own in classes.items():
        # Sets count equal images once; a sorted digest is as good as a random order.
        start, ordered = 0, sorted(own)
        for split, share in fractions.items():
            stop = start + round(share * len(own))
            splits |= {(label, key): split for key in ordered[start:stop]}
            start = stop
    return [splits.get(sample, "train") for sample in zip(labels, keys, strict=True)]


def main() -> None:
    """Read the images once, and show how many there are."""
    args = data_options(__doc__, data="images (default: digits)").parse_args()
    model = load_config(ModelConfig, "model", args.size)
    config = load_config(Config, "data", args.size)
    images = load_images(config, args.data, model)
    shape = f"{model.image_height} x {model.image_width} x {model.num_channels}"
    print(f"{images.name}, sha256 {images.sha256}")
    print(f"{len(images.labels)} classes; images become {shape}")

    def counted(split: str, samples: Split) -> Iterator[str]:
        counts = torch.bincount(samples.targets, minlength=len(images.labels)).tolist()
        total, least, most = len(samples.targets), min(counts), max(counts)
        yield f"{split:>5}: {total:,} images, {least} to {most} a class"
        pairs = zip(images.labels[:MOST_SHOWN], counts, strict=False)
        yield "       " + ", ".join(f"{printable(label)} {count:,}" for label, count in pairs)

    print(*shown(images.splits, config, args.data, counted), sep="\n")


if __name__ == "__main__":
    run(main)
