"""Train the autoencoder on the normal part of your channels, or of those of a spacecraft.

    python train.py                                       the proxy, on the bundled readings
    python train.py --data sensors.csv --steps 2000       the proxy, on your channels
    python train.py --size full --data sensors.parquet    the full model, on your channels
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint, whose config.json also says how channels
are read.
"""

import argparse
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from data import LABEL, batch_at, batches, load_dataset
from data import Config as DataConfig
from model import Config as ModelConfig
from model import Model, errors
from runtime.errors import run
from runtime.job import Batch, Job
from runtime.options import Group
from runtime.settings import Training
from runtime.training import script


@dataclass(frozen=True)
class Config(Training):
    """How the autoencoder is trained."""


def reconstruction_error(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the mean squared error of reconstructions, and the number of windows.

    The mean over windows of |x - decode(encode(x))|^2 / (number of values that are not missing).
    """
    (x,) = batch  # (B, T, C)
    return errors(x, module(x)).mean(), len(x)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    config = model.config
    return reconstruction_error(model, (torch.zeros(samples, config.window, config.n_channels),))[0]


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    dataset = load_dataset(data, args.data, args.label, model)
    # The model sees normal windows only, so that it reconstructs anomalous ones badly.
    train_starts, val_starts = dataset.normal("train"), dataset.normal("val")
    return Job(
        config=config,
        data=data,
        name=dataset.name,
        sha256=dataset.sha256,
        splits=dataset.counts(),
        build=lambda: Model(model),
        batch=lambda start, n: (batch_at(dataset, train_starts, start, n, config.seed),),
        held_out=lambda size: ((x,) for x in batches(dataset, val_starts, size)),
        loss=reconstruction_error,
        example=example_loss,
        identity={"label": args.label},
        unit="windows",
        # infer.py must scale its channels as training did.
        entries={"columns": dataset.schema.to_json()},
    )


def options(group: Group) -> None:
    help_text = "0 or 1: which steps are anomalous (default: %(default)s, if there is one)"
    group.add_argument("--label", metavar="COLUMN", default=LABEL, help=help_text)


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="a table with a column for each channel (default: the bundled readings)",
    options=options,
)

if __name__ == "__main__":
    run(main)
