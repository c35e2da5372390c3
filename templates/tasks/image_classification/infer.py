"""Label images with a trained checkpoint.

    python infer.py --input photo.jpg      the likeliest classes of an image
    python infer.py --input photos --top 1 one line for each image of a folder
    python infer.py                        a few images of the validation split, with their classes

Prints a line for each image: its name, and its likeliest classes with their probabilities.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from data import Config as DataConfig
from data import fitted, load_images
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.image_batches import normalized, spread
from runtime.images import read_images
from runtime.labels import read_labels
from runtime.options import Group, existing
from runtime.scripts import Setting, Trained, serving


@dataclass(frozen=True)
class Config:
    """How images are labelled."""

    top: int = 5
    """Classes to print, the likeliest first."""
    samples: int = 8
    """Images of the validation split to label when there is no --input."""
    dtype: str = "bfloat16"
    """bfloat16 or float32: the format of weights and arithmetic."""


@torch.inference_mode()
def label(model: Model, image: Tensor) -> Tensor:
    """Return the probability of each class (K,) for a normalized image (C, H, W)."""
    # The image takes device and format of the weights: products of mixed formats fail.
    like = next(model.parameters())
    # One image at a time keeps memory constant, even for a folder of thousands.
    logits: Tensor = model(image.unsqueeze(0).to(like.device, like.dtype))[0]
    return logits.float().softmax(-1).cpu()  # (K,)


def samples(
    path: Path | None, model: ModelConfig, data: DataConfig, count: int
) -> Iterator[tuple[str, Tensor]]:
    """Yield images spread over the validation split, named by their number and class."""
    images = load_images(data, path, model)
    # The test split is for eval.py alone: choosing a model by its pictures would use it up.
    split = images.splits["val"]
    for index, pixels in spread(split, count):
        yield f"validation image {index} ({images.labels[int(split.targets[index])]})", pixels


def line(name: str, probabilities: Tensor, labels: tuple[str, ...], top: int) -> str:
    """Return a line such as `cat.png: cat 97.1%, dog 1.2%`."""
    # topk fails if there are fewer classes than `top`.
    best = probabilities.topk(min(top, len(labels)))
    each = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return f"{name}: " + ", ".join(f"{labels[number]} {share:.1%}" for number, share in each)


def options(group: Group) -> None:
    group.add_argument(
        "--input", type=existing, metavar="PATH", help="an image, or a folder of them"
    )


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print the classes of images."""
    args, config = trained.args, trained.config
    # Names of classes are in the checkpoint alone; the package's config.json has only their number.
    labels = read_labels(trained.folder)
    model_config = fitted(trained.model, labels, args.size)
    model = trained.load(lambda: Model(model_config), getattr(torch, config.dtype))
    if args.input:
        size = (model_config.image_height, model_config.image_width)
        images = read_images(args.input, size, model_config.num_channels)
    else:
        images = samples(args.data, model_config, trained.data, config.samples)
    for name, pixels in images:
        # Pixels are normalized as in training; another mean would shift all inputs.
        print(line(name, label(model, normalized(pixels, trained.data)), labels, config.top))


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "top": Setting("classes to print"),
        "dtype": Setting("format of weights and arithmetic", str, ("bfloat16", "float32")),
    },
    data="the data whose validation images are labelled without --input (default: digits)",
)

if __name__ == "__main__":
    run(main)
