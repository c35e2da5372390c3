"""Train the classifier on your clouds of points, or on simple solids.

    python train.py                                       the proxy, on solids
    python train.py --data clouds.jsonl --steps 2000      the proxy, on your clouds
    python train.py --size full --data clouds.jsonl       the full model
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint.

Each part of an update that passes through the model at once is normalized by the mean and variance
of its own points. So several processes, or --grad-accum, give other numbers than one process with
the whole batch. The running statistics, which a checkpoint keeps and evaluation uses, are those of
the first process: it sees as many clouds a step as any other.
"""

import argparse
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import Config as DataConfig
from data import batch_at, batches, fitted, load_clouds
from model import Config as ModelConfig
from model import Model
from runtime.errors import fail, run
from runtime.job import Batch, Job
from runtime.labels import class_names
from runtime.settings import Training
from runtime.training import script


@dataclass(frozen=True)
class Config(Training):
    """How the classifier is trained."""


def class_loss(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the mean cross-entropy of the classes in nats, and the number of clouds.

    -(1 / B) * sum over clouds i of log p(y_i | cloud i).
    """
    clouds, targets = batch
    if module.training and len(targets) < 2:
        fail("a part of an update has a single cloud, which has no variance: raise --batch-size.")
    # A bfloat16 softmax would lose the small probabilities.
    return F.cross_entropy(module(clouds).float(), targets), len(targets)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of dummy clouds, to count FLOPs and memory."""
    clouds = torch.zeros(samples, model.config.n_points, 3)
    return class_loss(model.eval(), (clouds, torch.zeros(samples, dtype=torch.int64)))[0]


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    clouds = load_clouds(data, args.data, model)
    # The proxy gets the classes of the data, whatever data that is.
    model = fitted(model, clouds.labels, args.size)
    train, val = clouds.splits["train"], clouds.splits["val"]
    return Job(
        config=config,
        data=data,
        name=clouds.name,
        sha256=clouds.sha256,
        splits={split: len(each.targets) for split, each in clouds.splits.items()},
        build=lambda: Model(model),
        batch=lambda start, count: batch_at(train, start, count, config.seed, data),
        held_out=lambda size: batches(val, size),
        loss=class_loss,
        example=example_loss,
        unit="clouds",
        entries=class_names(clouds.labels, model.num_classes),
    )


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="clouds with labels: .jsonl, .npz, or a folder of .obj and .ply (default: solids)",
)

if __name__ == "__main__":
    run(main)
