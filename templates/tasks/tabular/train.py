"""Train the network to predict a column of a table, a number or a class, from the others.

    python train.py                                       the proxy, on the bundled table
    python train.py --data table.csv --target price       the proxy, on your table
    python train.py --size full --data table.parquet      the full model, on your table
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint, whose config.json also says how columns
are read.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import Config as DataConfig
from data import load_rows, load_table
from model import Config as ModelConfig
from model import Model
from runtime.columns import Table
from runtime.errors import run
from runtime.job import Batch, Job
from runtime.options import Group
from runtime.settings import Training
from runtime.training import script


@dataclass(frozen=True)
class Config(Training):
    """How the network is trained."""


Loss = Callable[[nn.Module, Batch], tuple[Tensor, int]]


def squared_error(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the mean squared error of a batch, and its number of rows.

    (1 / B) * sum over b of (prediction - target)^2, in variances of the training rows' targets.
    """
    numbers, categories, targets = batch  # (B, N), (B, C), (B,)
    return F.mse_loss(module(numbers, categories)[:, 0].float(), targets), len(targets)


def cross_entropy(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the mean cross-entropy of a batch's classes in nats, and its number of rows.

    -(1 / B) * sum over b of log p(class_b | row_b).
    """
    numbers, categories, targets = batch  # (B, N), (B, C), (B,)
    logits = module(numbers, categories).float()  # (B, classes)
    return F.cross_entropy(logits, targets), len(targets)


# Each kind of target with its loss, and the type in which the loss takes targets.
LOSSES: dict[str, tuple[Loss, torch.dtype]] = {
    "number": (squared_error, torch.float32),
    "class": (cross_entropy, torch.int64),
}


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    config, (loss, dtype) = model.config, LOSSES[data.target_kind]
    numbers = torch.zeros(samples, config.n_numeric)
    categories = torch.zeros(samples, config.n_categorical, dtype=torch.int64)
    return loss(model, (numbers, categories, torch.zeros(samples, dtype=dtype)))[0]


def job_on(table: Table, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    """Return the model, the rows of a table and the loss; eval.py trains on tables of its own."""
    target = table.schema.target["name"]
    return Job(
        config=config,
        data=data,
        name=table.name,
        sha256=table.sha256,
        splits={split: len(rows) for split, rows in table.parts.items()},
        build=lambda: Model(model),
        batch=lambda start, count: table.batch_at(start, count, config.seed),
        held_out=lambda size: table.batches("val", size),
        loss=LOSSES[data.target_kind][0],
        example=example_loss,
        identity={"target": target},
        unit="rows",
        # infer.py reads columns as training did, so the checkpoint carries means and categories.
        entries={"columns": table.schema.to_json()},
    )


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    table = load_table(data, load_rows(data, args.data, args.target), model)
    return job_on(table, config, data, model)


def options(group: Group) -> None:
    group.add_argument("--target", metavar="COLUMN", help="to predict (default: the last one)")


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="a table with a row for each example, or a folder of its parts (default: bundled)",
    options=options,
)

if __name__ == "__main__":
    run(main)
