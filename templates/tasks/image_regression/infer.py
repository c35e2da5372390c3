"""Predict a number from images with a trained checkpoint.

    python infer.py --input photo.jpg      the number of an image
    python infer.py --input photos         a line for each image of a folder
    python infer.py                        a few images of the validation split, with the truth

Prints a line for each image: the number in the unit of the training data, a tab, and its name.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from data import Config as DataConfig
from data import load_images
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.image_batches import normalized, spread
from runtime.images import read_images
from runtime.options import Group, existing
from runtime.scripts import Setting, Trained, serving
from runtime.targets import Target, read_target


@dataclass(frozen=True)
class Config:
    """How numbers are predicted and printed."""

    digits: int = 6
    """Significant digits of a printed number."""
    samples: int = 8
    """Images of the validation split to read when there is no --input."""
    dtype: str = "bfloat16"
    """bfloat16 or float32: the format of weights and arithmetic."""


@torch.inference_mode()
def number(model: Model, image: Tensor, target: Target) -> float:
    """Return the number of a normalized image (C, H, W)."""
    # The image takes device and format of the weights: products of mixed formats fail.
    like = next(model.parameters())
    # One image at a time keeps memory constant, even for a folder of thousands.
    return float(target.restored(model(image.unsqueeze(0).to(like.device, like.dtype)))[0])


def samples(
    trained: Trained[Config, DataConfig, ModelConfig], target: Target
) -> Iterator[tuple[str, Tensor]]:
    """Yield images spread over the validation split, named by their place and their number."""
    images = load_images(trained.data, trained.args.data, target.name, trained.model)
    # The test split is for eval.py alone: choosing a model by its pictures would use it up.
    for index, pixels in spread(images.splits["val"], trained.config.samples):
        truth = f"{images.values['val'][index]:.{trained.config.digits}g}"
        yield f"validation image {index} ({truth})", pixels


def options(group: Group) -> None:
    group.add_argument(
        "--input", type=existing, metavar="PATH", help="an image, or a folder of them"
    )


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print the numbers of images."""
    args, config, c = trained.args, trained.config, trained.model
    # Mean and deviation of the train split are in the checkpoint.
    target = read_target(trained.folder)
    model = trained.load(lambda: Model(c), getattr(torch, config.dtype))
    if args.input:
        images = read_images(args.input, (c.image_height, c.image_width), c.num_channels)
    else:
        images = samples(trained, target)
    for name, pixels in images:
        # Pixels are normalized as in training; another mean would shift all inputs.
        found = number(model, normalized(pixels, trained.data), target)
        print(f"{found:.{config.digits}g}\t{name}")


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={"dtype": Setting("format of weights and arithmetic", str, ("bfloat16", "float32"))},
    data="the data whose validation images are read without --input (default: digits)",
)

if __name__ == "__main__":
    run(main)
