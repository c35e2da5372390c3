"""Train the segmentation network on your images, or on slices of an average brain.

    python train.py                                       the proxy, on the bundled slices
    python train.py --data my_scans --steps 2000          the proxy, on your images and masks
    python train.py --size full --data my_scans           the full model
    python train.py --resume                              go on from the last checkpoint
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/metrics.jsonl and OUT/checkpoint.
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
from runtime.device import choose_device
from runtime.distributed import processes
from runtime.errors import run
from runtime.options import shared_options, sized, training_options
from runtime.settings import load_config
from runtime.training import Batch, Task, named, settings, train


@dataclass(frozen=True)
class Config:
    """How the model is trained."""

    steps: int = 10000
    """Updates; the learning rate's schedule spans them."""
    batch_size: int = 64
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
    """Decay of kernels; biases are not decayed."""
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
        data="folder with images and masks (default: bundled slices)",
        steps=f"stop after this many updates in all {sized(proxy, full, 'steps')}",
        batch_size=f"samples in an update {sized(proxy, full, 'batch_size')}",
        seed=f"of the weights and of the order of samples {sized(proxy, full, 'seed')}",
        resume="go on from the checkpoint",
    )
    training_options(parser, proxy, full)
    return parser.parse_args()


def pixel_loss(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the mean cross-entropy of the pixels' classes in nats, and how many pixels count.

    -(1 / N) * sum over pixels of log p(class), the energy of section 3 with equal weights.
    """
    images, masks = batch  # (B, C, H, W), (B, H, W)
    return module(images, masks), int((masks >= 0).sum())


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of some samples without a meaning, to count what it takes."""
    height, width = model.config.image_height, model.config.image_width
    if data.crop:
        height, width = min(data.crop, height), min(data.crop, width)
    images = torch.zeros(samples, model.config.in_channels, height, width)
    loss: Tensor = model(images, torch.zeros(samples, height, width, dtype=torch.int64))
    return loss


def held_out(scenes: Scenes, size: int) -> Iterator[Batch]:
    """Yield the batches of the validation split: whole images."""
    count = len(scenes.splits["val"])
    for start in range(0, count, size):
        yield scenes.batch("val", range(start, min(start + size, count)))


def task(args: argparse.Namespace, config: Config) -> Task:
    """Return what there is to train: the model, the images and the loss."""
    data = load_config(DataConfig, "data", args.size)
    model = load_config(ModelConfig, "model", args.size)
    scenes = load_scenes(data, args.data, model)
    return Task(
        config=config,
        build=lambda: Model(model),
        batch=lambda start, count: batch_at(scenes, data, start, count, config.seed),
        held_out=lambda size: held_out(scenes, size),
        loss=pixel_loss,
        example=lambda module: example_loss(module, 1, data),
        identity={"sha256": scenes.sha256, **named(data=data)},
        unit="images",
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
