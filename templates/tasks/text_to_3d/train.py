"""Train the diffusion model on your shapes, or on simple solids.

    python train.py                                       the proxy, on simple solids
    python train.py --data my_shapes --steps 2000         the proxy, on your shapes
    python train.py --size full --data my_shapes          the full model
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint; the weights of model.safetensors are the
moving average of those that are trained.
"""

import argparse
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import Config as DataConfig
from data import batch_at, batches, load_shapes
from model import Config as ModelConfig
from model import Model, conditions
from runtime.diffusion import withheld
from runtime.ema import Average
from runtime.errors import run
from runtime.flow import flow_loss
from runtime.job import Batch, Job
from runtime.settings import Training
from runtime.training import script


@dataclass(frozen=True)
class Config(Training):
    """How the diffusion model is trained."""

    ema_decay: float = 0.9999
    """Share of the moving average of the weights that an update keeps."""
    unconditional_probability: float = 0.1
    """Share of samples that are trained without their caption, for classifier-free guidance."""


def loss_of(module: nn.Module, batch: Batch, nothing: Tensor, share: float) -> tuple[Tensor, int]:
    """Return the mean squared error of the predicted velocity, and the number of shapes.

    Args:
        module: The model.
        batch: Points (B, N, 3) and their captions (B, T).
        nothing: The empty caption (1, T).
        share: Share of the shapes that get it.
    """
    points, caption = batch

    def predicted(noisy: Tensor, t: Tensor) -> Tensor:
        velocity: Tensor = module(noisy, t, withheld(caption, nothing, share))
        return velocity

    return flow_loss(predicted, points, shift=1), len(points)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    points = torch.zeros(samples, model.config.n_points, 3)
    captions = conditions(model.config, [""] * samples)
    predicted: Tensor = model(points, torch.zeros(samples), captions)
    return F.mse_loss(predicted.float(), points)


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    shapes = load_shapes(data, args.data)
    nothing, share = conditions(model, [""]), config.unconditional_probability
    train_split, val_split = shapes.splits["train"], shapes.splits["val"]
    return Job(
        config=config,
        data=data,
        name=shapes.name,
        sha256=shapes.sha256,
        splits={split: len(each) for split, each in shapes.splits.items()},
        build=lambda: Model(model),
        batch=lambda start, n: batch_at(train_split, start, n, model, config.seed),
        held_out=lambda size: batches(val_split, size, model),
        loss=lambda module, batch: loss_of(module, batch, nothing, share),
        example=example_loss,
        unit="shapes",
        # Averaged weights draw better samples than those of any one update.
        average=lambda module: Average(module, config.ema_decay),
    )


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="folder of shapes, see data.py (default: simple solids)",
)

if __name__ == "__main__":
    run(main)
