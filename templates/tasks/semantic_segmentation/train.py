"""Train the segmentation network on your images, or on slices of an average brain.

    python train.py                                       the proxy, on the bundled slices
    python train.py --data my_scans --steps 2000          the proxy, on your images and masks
    python train.py --size full --data my_scans           the full model
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from data import Config as DataConfig
from data import Scenes, batch_at, load_scenes
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.job import Batch, Job
from runtime.settings import Training
from runtime.training import script


@dataclass(frozen=True)
class Config(Training):
    """How the segmentation network is trained."""


def pixel_loss(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the mean cross-entropy of the pixels' classes in nats, and the number of pixels.

    -(1 / N) * sum over pixels of log p(class): the energy of section 3 of the paper, with equal
    weights.
    """
    images, masks = batch  # (B, C, H, W), (B, H, W)
    # A pixel of -1 is void: its class is unknown, and it has no loss.
    return module(images, masks), int((masks >= 0).sum())


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    height, width = model.config.image_height, model.config.image_width
    # Training sees crops, which take less memory than whole images.
    if data.crop:
        height, width = min(data.crop, height), min(data.crop, width)
    images = torch.zeros(samples, model.config.in_channels, height, width)
    loss: Tensor = model(images, torch.zeros(samples, height, width, dtype=torch.int64))
    return loss


def held_out(scenes: Scenes, size: int) -> Iterator[Batch]:
    """Yield the batches of the validation split: whole images, as eval.py scores them."""
    count = len(scenes.splits["val"])
    for start in range(0, count, size):
        yield scenes.batch("val", range(start, min(start + size, count)))


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    scenes = load_scenes(data, args.data, model)
    return Job(
        config=config,
        data=data,
        name=scenes.name,
        sha256=scenes.sha256,
        splits={split: len(each) for split, each in scenes.splits.items()},
        build=lambda: Model(model),
        batch=lambda start, count: batch_at(scenes, data, start, count, config.seed),
        held_out=lambda size: held_out(scenes, size),
        loss=pixel_loss,
        example=example_loss,
        unit="images",
    )


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="folder with images and masks (default: bundled slices)",
)

if __name__ == "__main__":
    run(main)
