"""Label clouds of points with a trained checkpoint.

    python infer.py --input clouds.jsonl                  the label of each cloud of a file
    python infer.py --input chair.ply                     the label of a mesh, or of a scan
    python infer.py --input clouds.jsonl > labels.csv     the same, into a file

A file is written as for training; labels are not read. Prints a table with a line for each cloud:
its number, from 1, its likeliest class, and the probability of every class.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from data import Config as DataConfig
from data import drawn, fitted
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.label_table import print_labels
from runtime.labels import read_labels
from runtime.options import Group, existing
from runtime.point_files import read_clouds
from runtime.scripts import Setting, Trained, serving


@dataclass(frozen=True)
class Config:
    """How clouds are labelled and printed."""

    batch_size: int = 64
    """Clouds labelled at once."""
    digits: int = 4
    """Digits of a printed probability after the point."""
    dtype: str = "bfloat16"
    """bfloat16 or float32: the format of weights and arithmetic."""


@torch.inference_mode()
def shares(model: Model, clouds: Tensor, size: int) -> Tensor:
    """Return the probability of each class (K,) for each cloud: (N, K)."""
    like = next(model.parameters())
    parts = [model(each.to(like)).float().softmax(1).cpu() for each in torch.split(clouds, size)]
    return torch.cat(parts)


def options(group: Group) -> None:
    text = "a file of clouds, or a mesh"
    group.add_argument("--input", type=existing, required=True, metavar="PATH", help=text)


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print a line for each cloud."""
    config, labels = trained.config, read_labels(trained.folder)
    model_config = fitted(trained.model, labels, trained.args.size)
    found = read_clouds(trained.args.input, labelled=False)
    model = trained.load(lambda: Model(model_config), getattr(torch, config.dtype))
    clouds = drawn(found, model_config.n_points)
    made = shares(model, clouds, config.batch_size)
    print_labels("cloud", range(1, len(made) + 1), made, labels, config.digits)


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "batch_size": Setting("clouds labelled at once"),
        "dtype": Setting("format of weights and arithmetic", str, ("bfloat16", "float32")),
    },
)

if __name__ == "__main__":
    run(main)
