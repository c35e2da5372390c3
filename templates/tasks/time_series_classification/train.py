"""Train the classifier on your series, or on outlines of leaves that come with aeon.

    python train.py                                       the proxy, on the bundled series
    python train.py --data series.jsonl --steps 2000      the proxy, on your series
    python train.py --size full --data series.jsonl       the full model, on your series
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint, which transformers opens with
`PatchTSTForClassification.from_pretrained("out/checkpoint")`.
"""

import argparse
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import Config as DataConfig
from data import batch_at, batches, fitted, load_series
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.job import Batch, Job
from runtime.labels import class_names
from runtime.settings import Training
from runtime.training import script


@dataclass(frozen=True)
class Config(Training):
    """How the classifier is trained."""


def class_loss(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the mean cross-entropy of the classes in nats, and the number of series.

    -(1 / B) * sum over series i of log p(y_i | x_i).
    """
    series, targets = batch
    # A bfloat16 softmax would lose the small probabilities.
    return F.cross_entropy(module(series).float(), targets), len(targets)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of dummy series, to count FLOPs and memory."""
    series = torch.zeros(samples, model.config.n_channels, model.config.lookback)
    return class_loss(model, (series, torch.zeros(samples, dtype=torch.int64)))[0]


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    series = load_series(data, args.data, model)
    # The proxy gets the channels and classes of the data, whatever data that is.
    model = fitted(model, series.channels, series.labels, args.size)
    train, val = series.splits["train"], series.splits["val"]
    return Job(
        config=config,
        data=data,
        name=series.name,
        sha256=series.sha256,
        splits={split: len(each.targets) for split, each in series.splits.items()},
        build=lambda: Model(model),
        batch=lambda start, count: batch_at(train, start, count, config.seed),
        held_out=lambda size: batches(val, size),
        loss=class_loss,
        example=example_loss,
        unit="series",
        entries=class_names(series.labels, model.num_classes),
    )


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="series with labels: .jsonl, .ts, .csv, .npz, or a folder (default: outlines of leaves)",
)

if __name__ == "__main__":
    run(main)
