"""Find the class of each pixel of an image with a trained checkpoint.

    python infer.py --input scan.png                       writes out/scan_mask.png and _drawn.png
    python infer.py --input scan.png --opacity 0.8

Without --input, the image is one of the validation split. Writes a mask of class numbers and the
image with the mask drawn over it, and prints the share of each class.
"""

import argparse
import colorsys
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from data import Config as DataConfig
from data import load_scenes
from model import Config as ModelConfig
from model import Model
from runtime.checkpoint import find_checkpoint, load_model
from runtime.device import choose_device
from runtime.errors import fail, run
from runtime.images import read_image, write_image
from runtime.options import existing, shared_options, sized
from runtime.settings import load_config

GOLDEN_TURN = 0.61803398875  # of the colour circle from one class to the next: far apart


@dataclass(frozen=True)
class Config:
    """How a mask is drawn, and from what numbers."""

    opacity: float = 0.5
    """Of the mask over the image, from 0 to 1."""
    weight_bits: int = 16
    """Bits of a weight: 16 computes in bfloat16, 32 as trained."""


@torch.inference_mode()
def segment(model: Model, image: Tensor) -> Tensor:
    """Return the likeliest class (H, W) of each pixel of an image (C, H, W) from -1 to 1."""
    weight = model.head.weight
    logits = model(image[None].to(weight.device, weight.dtype))  # (1, K, H, W)
    classes: Tensor = logits[0].argmax(0).cpu()
    return classes


def drawn(image: Tensor, classes: Tensor, opacity: float) -> Tensor:
    """Return an image (3, H, W), 0 to 1, with each class but the background in its colour."""
    colours = [colorsys.hsv_to_rgb(k * GOLDEN_TURN % 1, 0.9, 1) for k in range(int(classes.max()))]
    palette = torch.tensor([(0.0, 0.0, 0.0), *colours])
    colour = palette[classes].permute(2, 0, 1)  # (3, H, W)
    share = opacity * (classes > 0)
    return (image.mean(0) / 2 + 0.5) * (1 - share) + colour * share


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "infer", "proxy"), Config()
    parser = shared_options(__doc__, data="where the image comes from without --input")
    group = parser.add_argument_group("options of infer.py")
    group.add_argument("--input", type=existing, metavar="FILE", help="the image to segment")
    group.add_argument(
        "--opacity", type=float, metavar="X", help=f"of the mask {sized(proxy, full, 'opacity')}"
    )
    group.add_argument(
        "--weight-bits",
        type=int,
        choices=(32, 16),
        help=f"bits of a weight {sized(proxy, full, 'weight_bits')}",
    )
    return parser.parse_args()


def main() -> None:
    """Write a mask, and the image under it."""
    args = command_line()
    device = choose_device(args.device, args.threads)
    config = load_config(Config, "infer", args.size)
    given = {k: v for k, v in vars(args).items() if v is not None and hasattr(config, k)}
    config = replace(config, **given)
    if not 0 <= config.opacity <= 1:
        fail("--opacity lies from 0 to 1.")
    model_config = load_config(ModelConfig, "model", args.size)
    folder = find_checkpoint(args.checkpoint or args.out / "checkpoint")
    if args.input is None:
        data = load_scenes(load_config(DataConfig, "data", args.size), args.data, model_config)
        name, (image, _) = f"{data.name}_val", data.pair("val", len(data.splits["val"]) // 2)
    else:
        size = (model_config.image_height, model_config.image_width)
        name = args.input.stem
        image = read_image(args.input, size, model_config.in_channels).float() / 127.5 - 1
    model = load_model(lambda: Model(model_config), folder).to(device)
    if config.weight_bits == 16:
        model = model.bfloat16()
    classes = segment(model, image)
    mask, picture = args.out / f"{name}_mask.png", args.out / f"{name}_drawn.png"
    write_image(mask, classes[None] / 255)
    write_image(picture, drawn(image, classes, config.opacity))
    print(f"wrote {mask} and {picture}")
    for number, share in enumerate(torch.bincount(classes.flatten()) / classes.numel()):
        print(f"class {number}: {share:.1%} of the pixels")


if __name__ == "__main__":
    run(main)
