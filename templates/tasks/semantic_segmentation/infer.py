"""Predict the class of each pixel of an image with a trained checkpoint.

    python infer.py --input scan.png                       writes out/scan_mask.png and _drawn.png
    python infer.py --input scan.png --opacity 0.8

Without --input, the image is from the validation split. Writes a mask of class numbers and the
image with the mask drawn over it, and prints the share of each class.
"""

import colorsys
from dataclasses import dataclass

import torch
from torch import Tensor

from data import Config as DataConfig
from data import load_scenes
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.images import read_image, write_image
from runtime.options import Group, existing
from runtime.pixels import survey
from runtime.scripts import Setting, Trained, serving

# Hues that advance by the golden ratio stay far apart for any number of classes.
GOLDEN_TURN = 0.61803398875


@dataclass(frozen=True)
class Config:
    """How a mask is computed and drawn."""

    opacity: float = 0.5
    """Opacity of the mask over the image, from 0 to 1."""
    weight_bits: int = 16
    """Bits per weight: 16 computes in bfloat16, 32 as trained."""


@torch.inference_mode()
def segment(model: Model, image: Tensor) -> Tensor:
    """Return the likeliest class (H, W) of each pixel of an image (C, H, W) from -1 to 1."""
    # The image takes the format of the weights: products of mixed formats fail.
    weight = model.head.weight
    logits = model(image[None].to(weight.device, weight.dtype))  # (1, K, H, W)
    classes: Tensor = logits[0].argmax(0).cpu()
    return classes


def drawn(image: Tensor, classes: Tensor, opacity: float) -> Tensor:
    """Return an image (3, H, W), 0 to 1, with a colour over each class other than background."""
    colours = [colorsys.hsv_to_rgb(k * GOLDEN_TURN % 1, 0.9, 1) for k in range(int(classes.max()))]
    palette = torch.tensor([(0.0, 0.0, 0.0), *colours])
    colour = palette[classes].permute(2, 0, 1)  # (3, H, W)
    # The background keeps the image's own pixels.
    share = opacity * (classes > 0)
    # Colours stand for classes, so the image itself is drawn in grey.
    return (image.mean(0) / 2 + 0.5) * (1 - share) + colour * share


def options(group: Group) -> None:
    group.add_argument("--input", type=existing, metavar="FILE", help="the image to segment")


def image_of(trained: Trained[Config, DataConfig, ModelConfig]) -> tuple[str, Tensor]:
    """Return a name for files, and the image (C, H, W) from -1 to 1, of --input or validation."""
    path, model = trained.args.input, trained.model
    if path is None:
        scenes = load_scenes(trained.data, trained.args.data, model)
        # The middle slice of a scan shows more than the first one.
        image, _ = scenes.pair("val", len(scenes.splits["val"]) // 2)
        return f"{scenes.name}_val", image
    size = (model.image_height, model.image_width)
    survey([path]).say(model.in_channels)
    return path.stem, read_image(path, size, model.in_channels).float() / 127.5 - 1


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Write a mask, and the image under it."""
    out, config = trained.args.out, trained.config
    # The image is read before the weights, so that a wrong path fails at once.
    name, image = image_of(trained)
    # bfloat16 halves the memory; few pixels at the edge of classes change.
    dtype = torch.bfloat16 if config.weight_bits == 16 else torch.float32
    model = trained.load(lambda: Model(trained.model), dtype)
    classes = segment(model, image)
    mask, picture = out / f"{name}_mask.png", out / f"{name}_drawn.png"
    # Class k is grey level k, so that other tools read class numbers; to the eye they look black.
    write_image(mask, classes[None] / 255)
    write_image(picture, drawn(image, classes, config.opacity))
    print(f"wrote {mask} and {picture}")
    for number, share in enumerate(torch.bincount(classes.flatten()) / classes.numel()):
        print(f"class {number}: {share:.1%} of the pixels")


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "opacity": Setting("opacity of the mask", float),
        "weight_bits": Setting("bits per weight", int, (32, 16)),
    },
    data="the data whose validation image is used without --input",
)

if __name__ == "__main__":
    run(main)
