"""Train the classifier on your graph, or on that of the modules of sympy.

    python train.py                                       the proxy, on the bundled graph
    python train.py --data graph.json --steps 2000        the proxy, on your graph
    python train.py --size full --data graph.json         the full model
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint.

A sample is the whole graph, and its loss that of all nodes of the training split. A --batch-size of
several passes the graph as often in an update, each time with other features dropped, and several
processes or --grad-accum share these passes. Each part of an update that passes through the model
at once is normalized by the mean and variance of its own nodes; the running statistics, which a
checkpoint keeps and evaluation uses, are those of the first process.
"""

import argparse
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import Config as DataConfig
from data import batch_of, fitted, load_graph
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
    """Return the mean cross-entropy of the chosen nodes' classes in nats, and their number.

    -(1 / M) * sum over nodes i of log p(y_i | graph).
    """
    *graph, chosen, targets = batch
    if module.training and len(graph[0]) < 2:
        fail("the graph has a single node, which has no variance: use a larger one.")
    logits = module(*graph).index_select(0, chosen)
    # A bfloat16 softmax would lose the small probabilities.
    return F.cross_entropy(logits.float(), targets), len(targets)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of dummy graphs of the usual size, to count FLOPs and memory."""
    nodes, edges, index, *_ = usual(model.config, samples)
    chosen = torch.arange(len(nodes))
    return class_loss(model, (nodes, edges, index, chosen, torch.zeros_like(chosen)))[0]


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    graph = load_graph(data, args.data, model, args.size)
    # The proxy gets the features and classes of the data, whatever data that is.
    model = fitted(model, graph.columns, graph.labels, args.size)
    return Job(
        config=config,
        data=data,
        name=graph.name,
        sha256=graph.sha256,
        splits={split: len(each) for split, each in graph.splits.items()},
        build=lambda: Model(model),
        batch=lambda start, count: batch_of(graph, "train", count),
        held_out=lambda size: [batch_of(graph, "val", 1)],
        loss=class_loss,
        example=example_loss,
        unit="graphs",
        counted="nodes",
        entries={**class_names(graph.labels, model.num_classes), **graph.columns.entry()},
    )


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="a graph with labels of nodes: .json, .npz, or a folder (default: imports of sympy)",
)

if __name__ == "__main__":
    run(main)
