"""Read images with boxes around objects: composed scenes of digits, or your own in COCO's form.

    python data.py --data PATH      shows what training will read

PATH holds images and a JSON file in COCO's form that names them, with the box and the category of
each object. Files that are named after the splits train, val and test, or lie in folders with these
names, are these splits; one file is cut by the names of its images.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from model import Config as ModelConfig
from runtime.errors import run
from runtime.objects import Objects, mirrored, zoomed
from runtime.options import data_options
from runtime.order import samples_at
from runtime.pictures import Pictures, Sample, Shape, batch_of, load_pictures
from runtime.settings import load_config
from runtime.splits import SPLITS


@dataclass(frozen=True)
class Config:
    """How images become samples."""

    flip: bool = True
    """Whether half of the training images are mirrored."""
    zoom: float = 1.5
    """Greatest factor by which a training image grows or shrinks at random; 1 keeps its size."""
    val_fraction: float = 0.1
    """Share of the images for validation during training, where no file names a split."""
    test_fraction: float = 0.1
    """Share of the images that only eval.py reads."""


def load_scenes(config: Config, path: Path | None, model: ModelConfig) -> Pictures:
    """Return the images of a folder, or the bundled ones, or stop if they do not fit."""
    shape = Shape(model.image_height, model.image_width, model.num_channels, model.num_classes)
    return load_pictures(path, shape, config.val_fraction, config.test_fraction)


def batch_at(
    pictures: Pictures, config: Config, position: int, count: int, seed: int
) -> tuple[Tensor, ...]:
    """Return the training samples at some positions of the order: images, boxes and classes.

    The position alone decides how a sample is changed, so a resumed run repeats it.
    """
    samples = []
    every = samples_at(position, count, len(pictures.splits["train"]), seed)
    for place, (_, index) in enumerate(every, start=position):
        generator = torch.Generator().manual_seed((seed * 1_000_003 + place) % 2**63)
        samples.append(_changed(*pictures.sample("train", index), config, generator))
    return batch_of(samples)


def _changed(image: Tensor, objects: Objects, config: Config, generator: torch.Generator) -> Sample:
    """Return an image and its objects mirrored and zoomed at random."""
    # All numbers are drawn under all settings, so turning one off leaves the others unchanged.
    mirror, *numbers = torch.rand(4, generator=generator).tolist()
    if config.flip and mirror < 0.5:
        image, objects = mirrored(image, objects)
    if config.zoom > 1:
        image, objects = zoomed(image, objects, config.zoom, numbers)
    return image, objects


def main() -> None:
    """Show what training will read."""
    args = data_options(__doc__, data="folder of images (default: composed scenes)").parse_args()
    model = load_config(ModelConfig, "model", args.size)
    pictures = load_scenes(load_config(Config, "data", args.size), args.data, model)
    print(f"{pictures.name}, sha256 {pictures.sha256}")
    print(*pictures.left_out, sep="\n", end="\n" if pictures.left_out else "")
    for split in SPLITS:
        truth = pictures.truth(split)
        counts = Counter(n for each in truth for n in each.classes.tolist())
        sides = torch.cat([each.boxes[:, 2:] - each.boxes[:, :2] for each in truth])
        small, large = (sides.amin(1).quantile(0.05), sides.amax(1).quantile(0.95))
        names = ", ".join(f"{pictures.classes[n]} {count:,}" for n, count in counts.most_common(20))
        print(
            f"{split:>5}: {len(truth):,} images, {sum(counts.values()):,} objects with sides from "
            f"{small:.0f} to {large:.0f} of {model.image_height} x {model.image_width} pixels: "
            f"{names}"
        )


if __name__ == "__main__":
    run(main)
