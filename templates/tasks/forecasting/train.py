"""Train the forecaster on your series, or on two that come with statsmodels.

    python train.py                                       the proxy, on the bundled series
    python train.py --data series.csv --steps 2000        the proxy, on your series
    python train.py --size full --data series.csv         the full model, on your series
    python train.py --resume                              go on from the last checkpoint
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/metrics.jsonl and OUT/checkpoint, which transformers opens with
`PatchTSTForPrediction.from_pretrained("out/checkpoint")`.
"""

import argparse
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from data import Config as DataConfig
from data import batch_at, load_series, windows
from model import Config as ModelConfig
from model import Model
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
        data="a table with a column for each series (default: the bundled series)",
        steps=f"stop after this many updates in all {sized(proxy, full, 'steps')}",
        batch_size=f"samples in an update {sized(proxy, full, 'batch_size')}",
        seed=f"of the weights and of the order of samples {sized(proxy, full, 'seed')}",
        resume="go on from the checkpoint",
    )
    training_options(parser, proxy, full)
    return parser.parse_args()


def scaled_error(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the mean absolute error of forecasts, and of how many steps.

    (1 / BH) * sum over b and h of |forecast - truth|. As each series is counted in its scale, this
    is the mean absolute scaled error (Hyndman & Koehler, 2006).
    """
    past, future = batch  # (B, lookback), (B, horizon)
    return (module(past) - future).abs().mean(), future.numel()


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of some samples without a meaning, to count what it takes."""
    past = torch.zeros(samples, model.config.lookback)
    return scaled_error(model, (past, torch.zeros(samples, model.config.horizon)))[0]


def task(args: argparse.Namespace, config: Config) -> Task:
    """Return what there is to train: the model, the series and the loss."""
    data = load_config(DataConfig, "data", args.size)
    model = load_config(ModelConfig, "model", args.size)
    dataset = load_series(data, args.data, model)
    return Task(
        config=config,
        build=lambda: Model(model),
        batch=lambda start, count: batch_at(dataset, start, count, model, config.seed),
        held_out=lambda size: windows(dataset, "val", model, size),
        loss=scaled_error,
        example=lambda module: example_loss(module, 1, data),
        identity={"sha256": dataset.sha256, **named(data=data)},
        unit="windows",
    )


def main() -> None:
    """Train on the device of this process, together with the others."""
    args = command_line()
    config = settings(Config, args)
    device = choose_device(args.device, args.threads)
    with processes(device):
        train(task(args, config), args, device)


if __name__ == "__main__":
    run(main)
