"""Train the model to predict a number from an image: on your images, or on turned digits.

    python train.py                                       the proxy, on the bundled digits
    python train.py --data my_images --target price       the proxy, on your folder
    python train.py --size full --data my_images          the full model
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint, which transformers opens with
`AutoModelForImageClassification.from_pretrained("out/checkpoint")`: its one logit is the number
less its mean, in standard deviations; both are under `target` in config.json.

Where the model has batch normalization, each part of an update that passes through the model at
once is normalized by its own mean and variance. So several processes, or --grad-accum, give other
numbers than one process with the whole batch. The running statistics, which a checkpoint keeps and
evaluation uses, are those of the first process: it sees as many samples a step as any other.
"""

import argparse
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import Config as DataConfig
from data import load_images
from model import Config as ModelConfig
from model import Model
from runtime.checkpoint import to_json
from runtime.errors import run
from runtime.image_batches import batch_at, batches, preprocessor
from runtime.images import position_after
from runtime.job import Batch, Job
from runtime.settings import Training
from runtime.targets import target_option
from runtime.training import script


@dataclass(frozen=True)
class Config(Training):
    """How the model is trained."""


def squared_error(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the mean squared error of a batch, and the number of images.

    (1 / B) * sum over images i of (prediction - target)^2, in variances of the train split's
    targets.
    """
    images, targets = batch  # (B, C, H, W), (B,)
    return F.mse_loss(module(images).float(), targets), len(targets)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    c = model.config
    images = torch.zeros(samples, c.num_channels, c.image_height, c.image_width)
    return squared_error(model, (images, torch.zeros(samples)))[0]


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    images = load_images(data, args.data, args.target, model)

    def batch(start: int, count: int) -> Batch:
        # The next files are read from disk while the model computes.
        following = position_after(start, count, config.batch_size)
        return batch_at(images.splits["train"], start, count, following, data, config.seed)

    return Job(
        config=config,
        data=data,
        name=images.name,
        sha256=images.sha256,
        splits={split: len(each.targets) for split, each in images.splits.items()},
        build=lambda: Model(model),
        batch=batch,
        held_out=lambda size: batches(images.splits["val"], size, data),
        loss=squared_error,
        example=example_loss,
        identity={"target": images.target.name},
        unit="images",
        entries=images.target.entries(),
        texts={"preprocessor_config.json": to_json(preprocessor(model, data))},
    )


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="a folder of images with a metadata file of numbers (default: bundled digits)",
    options=target_option,
)

if __name__ == "__main__":
    run(main)
