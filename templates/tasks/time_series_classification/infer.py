"""Label series with a trained checkpoint.

    python infer.py --input new.jsonl                  the label of each series of a file
    python infer.py --input new.jsonl > labels.csv     the same, into a file

A file is written as for training; labels are not read. Prints a table with a line for each series:
its number, from 1, its likeliest class, and the probability of every class.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from data import Config as DataConfig
from data import fitted, read_channels, stretched
from model import Config as ModelConfig
from model import Model
from runtime.errors import fail, run
from runtime.label_table import print_labels
from runtime.labels import read_labels
from runtime.options import Group, existing
from runtime.scripts import Setting, Trained, serving
from runtime.waves import read_waves


@dataclass(frozen=True)
class Config:
    """How series are labelled and printed."""

    batch_size: int = 256
    """Series labelled at once."""
    digits: int = 4
    """Digits of a printed probability after the point."""
    dtype: str = "bfloat16"
    """bfloat16 or float32: the format of weights and arithmetic."""


@torch.inference_mode()
def shares(model: Model, series: Tensor, size: int) -> Tensor:
    """Return the probability of each class (K,) for series (N, C, L): (N, K)."""
    device = next(model.parameters()).device
    parts = []
    for start in range(0, len(series), size):
        logits = model(series[start : start + size].to(device)).float()
        parts.append(logits.softmax(1).cpu())
    return torch.cat(parts)


def options(group: Group) -> None:
    text = "a file of series with as many channels as those of training"
    group.add_argument("--input", type=existing, required=True, metavar="PATH", help=text)


def serve(trained: Trained[Config, DataConfig, ModelConfig]) -> None:
    """Print a line for each series."""
    config, path = trained.config, trained.args.input
    labels, channels = read_labels(trained.folder), read_channels(trained.folder)
    model_config = fitted(trained.model, channels, labels, trained.args.size)
    waves = read_waves(path, labelled=False)
    if len(waves[0].channels) != channels:
        fail(
            f"{path} has series of {len(waves[0].channels)} channels, and the model was trained on "
            f"{channels}: give as many."
        )
    model = trained.load(lambda: Model(model_config), getattr(torch, config.dtype))
    series = stretched(waves, model_config.lookback)
    made = shares(model, series, config.batch_size)
    print_labels("series", range(1, len(made) + 1), made, labels, config.digits)


main = serving(
    __doc__,
    (Config, DataConfig, ModelConfig),
    serve,
    options=options,
    settings={
        "batch_size": Setting("series labelled at once"),
        "dtype": Setting("format of weights and arithmetic", str, ("bfloat16", "float32")),
    },
)

if __name__ == "__main__":
    run(main)
