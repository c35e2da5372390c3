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
from torch import Tensor, nn

from data import Config as DataConfig
from data import batch_at, batches, load_images
from model import Config as ModelConfig
from model import Model, conditions
from runtime.diffusion import add_noise, signal, withheld
from runtime.ema import Average
from runtime.errors import run
from runtime.job import Batch, Job
from runtime.settings import Training
from runtime.training import script


@dataclass(frozen=True)
class Config(Training):
    """How the diffusion model is trained."""

    ema_decay: float = 0.9999
    """Share of the moving average of the weights that an update keeps."""
    unconditional_probability: float = 0.1
    """Share of samples that are trained without their condition, for classifier-free guidance."""


def noise_loss(
    module: nn.Module, batch: Batch, left: Tensor, nothing: Tensor, share: float
) -> tuple[Tensor, int]:
    """Return the mean squared error of the predicted noise, and the number of images.

    E over x, e and t of |e - model(sqrt(a_t) x + sqrt(1 - a_t) e, t)|^2, the mean over pixels (Ho
    et al., 2020, arXiv:2006.11239, equation 14).

    Args:
        module: The model.
        batch: Images (B, C, H, W) and their conditions.
        left: Share a_t of the image's variance that is left at each noise level, from `signal`.
        nothing: The condition of an image without one, with a first dimension of 1.
        share: Share of the images that get it.
    """
    images, condition = batch
    left = left.to(images.device)
    # Every image gets a noise level of its own, so that an update sees many of them.
    t = torch.randint(len(left), (len(images),), device=images.device)
    noise = torch.randn_like(images)
    condition = withheld(condition, nothing, share)
    predicted = module(add_noise(images, noise, left[t]), t, condition)
    return F.mse_loss(predicted.float(), noise), len(images)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    c = model.config
    images = torch.zeros(samples, c.image_channels, c.image_height, c.image_width)
    predicted: Tensor = model(images, torch.zeros(samples), conditions(c, [""] * samples, []))
    return F.mse_loss(predicted.float(), images)


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    images = load_images(data, args.data, model)
    left = signal(data.noise_schedule, data.timesteps)
    nothing, share = conditions(model, [""], images.classes), config.unconditional_probability
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
        loss=lambda module, batch: noise_loss(module, batch, left, nothing, share),
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
