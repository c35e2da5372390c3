"""Label images with a trained checkpoint.

    python infer.py --input photo.jpg      the likeliest classes of an image
    python infer.py --input photos --top 1 one line for each image of a folder
    python infer.py                        a few images of the validation split, with their classes

Prints a line for each image: its name, and classes with their probabilities.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from data import Config as DataConfig
from data import fitted, load_images, normalized, read_labels
from model import Config as ModelConfig
from model import Model
from runtime.checkpoint import find_checkpoint, load_model
from runtime.device import choose_device
from runtime.errors import run
from runtime.images import image_files, read_image
from runtime.options import existing, positive, shared_options, sized
from runtime.settings import load_config


@dataclass(frozen=True)
class Config:
    """How images are labelled."""

    top: int = 5
    """Classes to print, the likeliest first."""
    samples: int = 8
    """Images of the validation split that are labelled without --input."""
    dtype: str = "bfloat16"
    """bfloat16 or float32: the format of weights and arithmetic."""


@torch.inference_mode()
def label(model: Model, image: Tensor) -> Tensor:
    """Return the probability of each class (K,) for an image (C, H, W) as the data gives it."""
    like = next(model.parameters())
    logits: Tensor = model(image.unsqueeze(0).to(like.device, like.dtype))[0]
    return logits.float().softmax(-1).cpu()


def files(path: Path, model: ModelConfig) -> Iterator[tuple[str, Tensor]]:
    """Yield the name and the pixels of an image file, or of all of a folder."""
    size = (model.image_height, model.image_width)
    for file in image_files(path) if path.is_dir() else [path]:
        yield str(file), read_image(file, size, model.num_channels)


def samples(
    path: Path | None, model: ModelConfig, data: DataConfig, count: int
) -> Iterator[tuple[str, Tensor]]:
    """Yield images of the validation split, spread over it, called by their number and class."""
    images = load_images(data, path, model)
    split = images.splits["val"]
    total = len(split.targets)
    for turn in range(min(count, total)):
        index = turn * total // min(count, total)
        name = images.labels[int(split.targets[index])]
        yield f"validation image {index} ({name})", split.pixels[[index]][0]


def line(name: str, probabilities: Tensor, labels: tuple[str, ...], top: int) -> str:
    """Return a line of output."""
    best = probabilities.topk(min(top, len(labels)))
    each = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return f"{name}: " + ", ".join(f"{labels[number]} {share:.1%}" for number, share in each)


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "infer", "proxy"), Config()
    parser = shared_options(
        __doc__, data="where validation images come from, without --input (default: digits)"
    )
    group = parser.add_argument_group("options of infer.py")
    group.add_argument(
        "--input", type=existing, metavar="PATH", help="an image, or a folder of them"
    )
    group.add_argument(
        "--top", type=positive, metavar="N", help=f"classes to print {sized(proxy, full, 'top')}"
    )
    group.add_argument(
        "--dtype",
        choices=("bfloat16", "float32"),
        help=f"of weights and arithmetic {sized(proxy, full, 'dtype')}",
    )
    return parser.parse_args()


def main() -> None:
    """Print the classes of images."""
    args = command_line()
    device = choose_device(args.device, args.threads)
    config = load_config(Config, "infer", args.size)
    given = {k: v for k, v in vars(args).items() if v is not None and hasattr(config, k)}
    config = replace(config, **given)
    data_config = load_config(DataConfig, "data", args.size)
    folder = find_checkpoint(args.checkpoint or args.out / "checkpoint")
    labels = read_labels(folder)
    model_config = fitted(load_config(ModelConfig, "model", args.size), labels, args.size)
    model = load_model(lambda: Model(model_config), folder)
    model.to(device, torch.bfloat16 if config.dtype == "bfloat16" else torch.float32)
    if args.input:
        images = files(args.input, model_config)
    else:
        images = samples(args.data, model_config, data_config, config.samples)
    for name, pixels in images:
        print(line(name, label(model, normalized(pixels, data_config)), labels, config.top))


if __name__ == "__main__":
    run(main)
