"""Embed images with a trained checkpoint, and search those nearest to an image.

    python infer.py --input photo.jpg --gallery photos    the images of a folder nearest to one
    python infer.py --input photos --output vectors.npy   writes the vectors only
    python infer.py                                       a validation image among the others

Prints cosine and name, the nearest first. Vectors have a length of 1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data import Config as DataConfig
from data import load_images
from model import Config as ModelConfig
from model import Model
from runtime.errors import fail, run
from runtime.image_batches import normalized
from runtime.images import image_files, read_image
from runtime.options import Group, existing
from runtime.pixels import survey
from runtime.scripts import Setting, Trained, serving

Named = tuple[list[str], Tensor]  # names, and vectors (N, E)


@dataclass(frozen=True)
class Config:
    """How images are embedded and searched."""

    nearest: int = 5
    """Images to print."""
    batch_size: int = 64
    """Images embedded at once."""
    dtype: str = "bfloat16"
    """bfloat16 or float32: the format of weights and arithmetic."""


@torch.inference_mode()
def embedded(model: Model, pixels: Tensor, data: DataConfig) -> Tensor:
    """Return the vectors (N, E) of images (N, C, H, W), uint8."""
    like = next(model.parameters())
    vectors: Tensor = model(normalized(pixels, data).to(like.device, like.dtype)).float().cpu()
    # bfloat16 rounds a length of 1.
    return torch.nn.functional.normalize(vectors, dim=1)


def files(path: Path) -> list[Path]:
    """Return an image file, or those of a folder."""
    return image_files(path) if path.is_dir() else [path]


def of_files(model: Model, paths: Sequence[Path], data: DataConfig, size: int) -> Named:
    """Return the names and the vectors of image files."""
    c = model.config
    survey(paths).say(c.num_channels)
    parts = []
    for start in range(0, len(paths), size):
        shape = (c.image_height, c.image_width)
        some = [read_image(each, shape, c.num_channels) for each in paths[start : start + size]]
        parts.append(embedded(model, torch.stack(some), data))
    return [str(each) for each in paths], torch.cat(parts)


def of_validation(model: Model, trained: Trained[Config, DataConfig, ModelConfig]) -> Named:
    """Return the names and the vectors of the validation images."""
    # The test split is for eval.py alone: choosing a model by its pictures would use it up.
    images = load_images(trained.data, trained.args.data, trained.model)
    split, size = images.splits["val"], trained.config.batch_size
    count = len(split.targets)
    groups = [list(range(at, min(at + size, count))) for at in range(0, count, size)]
    vectors = [embedded(model, split.pixels[group], trained.data) for group in groups]
    names = [f"{images.labels[int(t)]}, validation image {n}" for n, t in enumerate(split.targets)]
    return names, torch.cat(vectors)


def lines(query: Tensor, gallery: Named, nearest: int) -> Iterator[str]:
    """Yield the nearest images to a vector (E,): cosine and name."""
    names, vectors = gallery
    best = (vectors @ query).topk(min(nearest, len(names)))
    for cosine, row in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        yield f"{cosine:.4f}\t{names[row]}"


def options(group: Group) -> None:
    group.add_argument("--input", type=existing, metavar="PATH", help="an image, or a folder")
    group.add_argument("--gallery", type=existing, metavar="PATH", help="the folder to search")
    group.add_argument("--output", type=Path, metavar="FILE", help="write vectors here, as .npy")


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print the nearest images, or write vectors."""
    args, config = trained.args, trained.config
    if args.output and not args.input:
        fail("--output writes the vectors of images: name them by --input.")
    model = trained.load(lambda: Model(trained.model), getattr(torch, config.dtype))
    if not args.input:
        names, vectors = of_validation(model, trained)
        print(f"nearest to {names[0]}:")
        print(*lines(vectors[0], (names[1:], vectors[1:]), config.nearest), sep="\n")
        return
    named = of_files(model, files(args.input), trained.data, config.batch_size)
    if args.output:
        # np.save would append .npy to a path, so it gets an open file.
        with args.output.open("wb") as file:
            np.save(file, named[1].numpy())
        return
    gallery = (
        of_files(model, files(args.gallery), trained.data, config.batch_size)
        if args.gallery
        else of_validation(model, trained)
    )
    for name, vector in zip(*named, strict=True):
        print(f"nearest to {name}:")
        print(*lines(vector, gallery, config.nearest), sep="\n")


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "nearest": Setting("images to print"),
        "batch_size": Setting("images embedded at once"),
        "dtype": Setting("format of weights and arithmetic", str, ("bfloat16", "float32")),
    },
    data="the data whose validation images are searched without --gallery (default: letters)",
)

if __name__ == "__main__":
    run(main)
