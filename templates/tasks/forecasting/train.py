"""Train the forecaster on your series, or on two that come with statsmodels.

    python train.py                                       the proxy, on the bundled series
    python train.py --data series.csv --steps 2000        the proxy, on your series
    python train.py --size full --data series.csv         the full model, on your series
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint, which transformers opens with
`PatchTSTForPrediction.from_pretrained("out/checkpoint")`.
"""

import argparse
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from data import Config as DataConfig
from data import batch_at, load_series, windows
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.job import Batch, Job
from runtime.settings import Training
from runtime.training import script


@dataclass(frozen=True)
class Config(Training):
    """How the forecaster is trained."""


def scaled_error(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the mean absolute error of forecasts, and the number of steps.

    (1 / BH) * sum over b and h of |forecast - truth|.
    """
    past, future = batch  # (B, lookback), (B, horizon)
    # Each series is given in units of its own scale, so this is the mean absolute scaled error
    # (Hyndman & Koehler, 2006), and no series outweighs the others.
    return (module(past) - future).abs().mean(), future.numel()


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    past = torch.zeros(samples, model.config.lookback)
    return scaled_error(model, (past, torch.zeros(samples, model.config.horizon)))[0]


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    dataset = load_series(data, args.data, model)
    return Job(
        config=config,
        data=data,
        name=dataset.name,
        sha256=dataset.sha256,
        splits=dataset.windows(model),
        build=lambda: Model(model),
        batch=lambda start, count: batch_at(dataset, start, count, model, config.seed),
        held_out=lambda size: windows(dataset, "val", model, size),
        loss=scaled_error,
        example=example_loss,
        unit="windows",
    )


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="a table with a column for each series (default: the bundled series)",
)

if __name__ == "__main__":
    run(main)
