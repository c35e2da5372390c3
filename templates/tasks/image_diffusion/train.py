"""Train the diffusion model on your images, or on small digits that come with scikit-learn.

    python train.py                                       the proxy, on the bundled digits
    python train.py --data my_images --steps 2000         the proxy, on your images
    python train.py --size full --data my_images          the full model
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
from torch import Tensor

from data import Config as DataConfig
from data import batch_at, batches, load_images
from model import Config as ModelConfig
from model import Model, conditions
from runtime.diffusion import noise_loss, signal
from runtime.ema import Average
from runtime.errors import run
from runtime.job import Job
from runtime.settings import Training
from runtime.training import script


@dataclass(frozen=True)
class Config(Training):
    """How the diffusion model is trained."""

    ema_decay: float = 0.9999
    """Share of the moving average of the weights that an update keeps."""
    unconditional_probability: float = 0.1
    """Share of samples that are trained without their condition, for classifier-free guidance."""


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    c = model.config
    images = torch.zeros(samples, c.image_channels, c.image_height, c.image_width)
    predicted: Tensor = model(images, torch.zeros(samples), conditions(c, [""] * samples, []))
    return F.mse_loss(predicted.float(), images)


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    images = load_images(data, args.data, model)
    left = signal(data.noise_schedule, data.timesteps)
    nothing, withheld = conditions(model, [""], images.classes), config.unconditional_probability
    train_split, val_split, classes = images.splits["train"], images.splits["val"], images.classes
    return Job(
        config=config,
        data=data,
        name=images.name,
        sha256=images.sha256,
        splits={split: len(each) for split, each in images.splits.items()},
        build=lambda: Model(model),
        batch=lambda start, n: batch_at(train_split, start, n, model, classes, config.seed),
        held_out=lambda size: batches(val_split, size, model, classes),
        loss=lambda module, batch: noise_loss(module, batch, left, nothing, withheld),
        example=example_loss,
        unit="images",
        entries={"classes": classes},
        # Averaged weights draw better samples than those of any one update.
        average=lambda module: Average(module, config.ema_decay),
    )


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="folder of images, see data.py (default: bundled digits)",
)

if __name__ == "__main__":
    run(main)
