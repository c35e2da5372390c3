"""Read images whose pixels belong to things and stuff: composed scenes, or your own in COCO's form.

    python data.py --data PATH      shows what training will read

PATH holds images, a JSON file in COCO's panoptic form, and beside it a folder with its name, whose
PNG files are maps: the colour of a pixel is the number of its segment. Files that are named after
the splits train, val and test are these splits; one file is cut by the names of its images.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from model import Config as ModelConfig
from runtime.errors import run
from runtime.options import data_options
from runtime.segments import SegmentedPictures, Sizes, load_segments
from runtime.settings import load_config
from runtime.splits import SPLITS

SHOWN = 20  # names in a sentence


@dataclass(frozen=True)
class Config:
    """How images become samples."""

    flip: bool = True
    """Whether half of the training images are mirrored."""
    zoom: float = 1.0
    """Greatest factor by which a training image grows or shrinks at random; 1 keeps its size."""
    val_fraction: float = 0.1
    """Share of the images for validation during training, where no file names a split."""
    test_fraction: float = 0.1
    """Share of the images that only eval.py reads."""


def load_scenes(config: Config, path: Path | None, model: ModelConfig) -> SegmentedPictures:
    """Return the images of a folder, or the bundled ones, or stop if they do not fit."""
    sides = model.image_height, model.image_width
    sizes = Sizes(*sides, model.num_channels, model.num_classes, model.num_stuff)
    return load_segments(path, sizes, config.val_fraction, config.test_fraction)


def main() -> None:
    """Show what training will read."""
    args = data_options(__doc__, data="folder of images (default: composed scenes)").parse_args()
    model = load_config(ModelConfig, "model", args.size)
    pictures = load_scenes(load_config(Config, "data", args.size), args.data, model)
    print(f"{pictures.name}, sha256 {pictures.sha256}")
    print(*pictures.left_out, sep="\n", end="\n" if pictures.left_out else "")
    for split in SPLITS:
        things, stuff, labelled = Counter[int](), Counter[int](), 0
        for index in range(len(pictures.splits[split])):
            _, objects = pictures.sample(split, index)
            assert objects.masks is not None
            labelled += int(objects.masks.any(0).sum())
            for number, area in zip(objects.classes, objects.masks.sum((1, 2)), strict=True):
                kind = int(number)
                if kind < pictures.things:
                    things[kind] += 1
                else:
                    stuff[kind] += int(area)
        pixels = len(pictures.splits[split]) * model.image_height * model.image_width
        counts = (f"{pictures.classes[n]} {count:,}" for n, count in things.most_common(SHOWN))
        shares = (
            f"{pictures.classes[n]} {area / pixels:.1%}" for n, area in stuff.most_common(SHOWN)
        )
        print(
            f"{split:>5}: {len(pictures.splits[split]):,} images, {labelled / pixels:.1%} of their "
            f"pixels labelled; {things.total():,} things: {', '.join(counts)}; stuff: "
            f"{', '.join(shares)}"
        )


if __name__ == "__main__":
    run(main)
