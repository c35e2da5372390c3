"""Train the model of talking heads on your clips, or on drawn ones.

    python train.py                                       the proxy, on the bundled clips
    python train.py --data my_clips --steps 2000          the proxy, on your clips
    python train.py --size full --data my_clips           the full model
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
from data import batch_at, batches, empty_chunks, load_clips
from model import Config as ModelConfig
from model import Model
from runtime.ema import Average
from runtime.errors import run
from runtime.flow import flow_loss
from runtime.job import Batch, Job
from runtime.settings import Training
from runtime.training import script


@dataclass(frozen=True)
class Config(Training):
    """How the model is trained."""

    ema_decay: float = 0.9999
    """Share of the moving average of the weights that an update keeps."""


def loss_of(module: nn.Module, batch: Batch, shift: float) -> tuple[Tensor, int]:
    """Return the mean squared error of the predicted frames, and the number of chunks.

    Args:
        module: The model.
        batch: The parts of a `Chunk`.
        shift: How far times are moved towards noise.
    """
    portrait, given, following, sound, caption = batch

    def predicted(noisy: Tensor, t: Tensor) -> Tensor:
        velocity: Tensor = module(portrait, given, noisy, t, sound, caption)
        return velocity

    return flow_loss(predicted, following, shift, of_samples=True), len(following)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    chunk = empty_chunks(model.config, samples)
    t = torch.zeros(samples)
    velocity = model(chunk.portrait, chunk.given, chunk.following, t, chunk.sound, chunk.caption)
    return F.mse_loss(velocity.float(), chunk.following)


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    clips = load_clips(data, args.data, model)
    train_split, val_split = clips.splits["train"], clips.splits["val"]
    return Job(
        config=config,
        data=data,
        name=clips.name,
        sha256=clips.sha256,
        splits={split: len(each) for split, each in clips.splits.items()},
        build=lambda: Model(model),
        batch=lambda start, n: batch_at(train_split, start, n, model, config.seed),
        held_out=lambda size: batches(val_split, size, model),
        loss=lambda module, batch: loss_of(module, batch, data.shift),
        example=example_loss,
        unit="chunks",
        counts={"clips": {split: len(each.lengths) for split, each in clips.splits.items()}},
        # Averaged weights generate better frames than those of any one update.
        average=lambda module: Average(module, config.ema_decay),
    )


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="folder of clips, see data.py (default: drawn heads)",
)

if __name__ == "__main__":
    run(main)
