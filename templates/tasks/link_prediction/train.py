"""Train the model on the links of your graph, or on the imports of sympy.

    python train.py                                       the proxy, on the bundled graph
    python train.py --data graph.json --steps 2000        the proxy, on your graph
    python train.py --size full --data graph.json         the full model
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint.

A sample is the whole graph without some of its links, which the network predicts. A --batch-size of
several passes the graph as often in an update, each time without others, and several processes or
--grad-accum share these passes. Each part of an update that passes through the model at once is
normalized by the mean and variance of its own nodes; the running statistics, which a checkpoint
keeps and evaluation uses, are those of the first process.
"""

import argparse
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import Config as DataConfig
from data import batch_of, fitted, held_out, load_graph
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.job import Batch, Job
from runtime.settings import Training
from runtime.training import script
from runtime.unions import usual, usual_pairs


@dataclass(frozen=True)
class Config(Training):
    """How the model is trained."""


def link_loss(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the mean cross-entropy of whether pairs are linked in nats, and their number.

    -(1 / P) * sum over pairs of y log p + (1 - y) log (1 - p).
    """
    *graph, targets = batch
    logits = module(*graph).float()
    return F.binary_cross_entropy_with_logits(logits, targets), len(targets)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of dummy graphs of the usual size, to count FLOPs and memory."""
    nodes, edges, index, *_ = usual(model.config, samples)
    pairs = usual_pairs(model.config, samples)
    return link_loss(model, (nodes, edges, index, pairs, torch.zeros(pairs.size(1))))[0]


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    graph = load_graph(data, args.data, model, args.size)
    # The proxy gets the features of the data, whatever data that is.
    model = fitted(model, graph.columns, args.size)
    return Job(
        config=config,
        data=data,
        name=graph.name,
        sha256=graph.sha256,
        splits={split: each.size(1) for split, each in graph.links.items()},
        build=lambda: Model(model),
        batch=lambda start, count: batch_of(graph, model.num_pairs, start, count, config.seed),
        held_out=lambda size: [held_out(graph, "val")],
        loss=link_loss,
        example=example_loss,
        unit="graphs",
        counted="links",
        entries=graph.columns.entry(),
    )


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="a graph: .json, .npz, .csv, or a folder (default: imports of sympy)",
)

if __name__ == "__main__":
    run(main)
