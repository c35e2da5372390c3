"""Read images with the masks of objects: composed scenes of digits, or your own in COCO's form.

    python data.py --data PATH      shows what training will read

PATH holds images and a JSON file in COCO's form that names them, with the box, the category and the
outline of each object: polygons or run lengths. Files that are named after the splits train, val
and test, or lie in folders with these names, are these splits; one file is cut by the names of its
images.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch

from model import Config as ModelConfig
from runtime.errors import run
from runtime.options import data_options
from runtime.pictures import Pictures, Shape, load_pictures
from runtime.settings import load_config
from runtime.splits import SPLITS


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


def load_scenes(config: Config, path: Path | None, model: ModelConfig) -> Pictures:
    """Return the images of a folder, or the bundled ones, or stop if they do not fit."""
    sides = model.image_height, model.image_width
    shape = Shape(*sides, model.num_channels, model.num_classes, masks=True)
    return load_pictures(path, shape, config.val_fraction, config.test_fraction)


def main() -> None:
    """Show what training will read."""
    args = data_options(__doc__, data="folder of images (default: composed scenes)").parse_args()
    model = load_config(ModelConfig, "model", args.size)
    pictures = load_scenes(load_config(Config, "data", args.size), args.data, model)
    print(f"{pictures.name}, sha256 {pictures.sha256}")
    print(*pictures.left_out, sep="\n", end="\n" if pictures.left_out else "")
    for split in SPLITS:
        counts, areas = Counter[int](), []
        for index in range(len(pictures.splits[split])):
            _, objects = pictures.sample(split, index)
            assert objects.masks is not None
            counts.update(objects.classes.tolist())
            areas += objects.masks.sum((1, 2)).tolist()
        small, large = torch.tensor(areas).float().quantile(torch.tensor((0.05, 0.95))).tolist()
        names = ", ".join(f"{pictures.classes[n]} {count:,}" for n, count in counts.most_common(20))
        print(
            f"{split:>5}: {len(pictures.splits[split]):,} images, {len(areas):,} objects of "
            f"{small:,.0f} to {large:,.0f} of {model.image_height * model.image_width:,} pixels: "
            f"{names}"
        )


if __name__ == "__main__":
    run(main)
