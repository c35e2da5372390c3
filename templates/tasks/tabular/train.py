"""Train the network to predict a column of a table, a number or a class, from the others.

    python train.py                                       the proxy, on the bundled table
    python train.py --data table.csv --target price       the proxy, on your table
    python train.py --size full --data table.parquet      the full model, on your table
    python train.py --resume                              go on from the last checkpoint
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/metrics.jsonl and OUT/checkpoint, whose config.json also says how columns are read.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import Config as DataConfig
from data import load_table
from model import Config as ModelConfig
from model import Model
from runtime.columns import Table
from runtime.device import choose_device
from runtime.distributed import processes
from runtime.errors import run
from runtime.options import shared_options, sized, training_options
from runtime.settings import load_config
from runtime.training import Batch, Task, named, settings, train


@dataclass(frozen=True)
class Config:
    """How the model is trained."""

    steps: int = 20000
    """Updates; the learning rate's schedule spans them."""
    batch_size: int = 128
    """Samples in an update."""
    grad_accum: int = 1
    """Parts in which one process passes an update's samples through the model."""
    learning_rate: float = 0.0003
    """Peak learning rate."""
    warmup_steps: int = 500
    """Updates in which the rate rises to its peak."""
    final_lr_share: float = 0.1
    """Share of the peak at which the cosine ends."""
    weight_decay: float = 0.1
    """Decay of matrices; gains are not decayed."""
    beta1: float = 0.9
    """AdamW's memory of the gradient."""
    beta2: float = 0.95
    """AdamW's memory of its square."""
    grad_clip: float = 1.0
    """Greatest norm of the gradient."""
    eval_every: int = 500
    """Updates between two looks at the validation split."""
    eval_batches: int = 16
    """Batches of the validation split in such a look, at most."""
    save_every: int = 500
    """Updates between two checkpoints."""
    dtype: str = "auto"
    """auto, float32, or bfloat16 (autocast; weights stay float32)."""
    seed: int = 42
    """Draws the first weights and the order of samples."""


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "train", "proxy"), Config()
    parser = shared_options(
        __doc__,
        data="a table with a row for each example (default: the bundled table)",
        steps=f"stop after this many updates in all {sized(proxy, full, 'steps')}",
        batch_size=f"samples in an update {sized(proxy, full, 'batch_size')}",
        seed=f"of the weights and of the order of samples {sized(proxy, full, 'seed')}",
        resume="go on from the checkpoint",
    )
    training_options(parser, proxy, full)
    group = parser.add_argument_group("options of this task")
    group.add_argument("--target", metavar="COLUMN", help="to predict (default: the last one)")
    return parser.parse_args()


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
    """Return the loss of a dummy batch, whose operations and memory are then counted."""
    config, (loss, dtype) = model.config, LOSSES[data.target_kind]
    numbers = torch.zeros(samples, config.n_numeric)
    categories = torch.zeros(samples, config.n_categorical, dtype=torch.int64)
    return loss(model, (numbers, categories, torch.zeros(samples, dtype=dtype)))[0]


def task_of(table: Table, config: Config, data: DataConfig, model: ModelConfig) -> Task:
    """Return what there is to train on a table."""
    target = table.schema.target["name"]
    return Task(
        config=config,
        build=lambda: Model(model),
        batch=lambda start, count: table.batch_at(start, count, config.seed),
        held_out=lambda size: table.batches("val", size),
        loss=LOSSES[data.target_kind][0],
        example=lambda module: example_loss(module, 1, data),
        identity={"sha256": table.sha256, "target": target, **named(data=data)},
        unit="rows",
        # infer.py reads columns as training did, so the checkpoint carries means and categories.
        entries={"columns": table.schema.to_json()},
    )


def main() -> None:
    """Train on the device of this process, together with the others."""
    args = command_line()
    config = settings(Config, args)
    device = choose_device(args.device, args.threads)
    data = load_config(DataConfig, "data", args.size)
    model = load_config(ModelConfig, "model", args.size)
    table = load_table(data, args.data, args.target, model)
    with processes(device):
        train(task_of(table, config, data, model), args, device)


if __name__ == "__main__":
    run(main)
