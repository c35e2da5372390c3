"""Train the diffusion model on your images, or on small digits that come with scikit-learn.

    python train.py                                       the proxy, on the bundled digits
    python train.py --data my_images --steps 2000         the proxy, on your images
    python train.py --size full --data my_images          the full model
    python train.py --resume                              go on from the last checkpoint
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/metrics.jsonl and OUT/checkpoint; the weights of model.safetensors are the moving average
of those that are trained.
"""

import argparse
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import Config as DataConfig
from data import batch_at, batches, load_images
from model import Config as ModelConfig
from model import Model, conditions
from runtime.device import choose_device
from runtime.diffusion import add_noise, signal
from runtime.distributed import processes
from runtime.ema import Average
from runtime.errors import run
from runtime.options import shared_options, sized, training_options
from runtime.settings import load_config
from runtime.training import Batch, Task, named, settings, train


@dataclass(frozen=True)
class Config:
    """How the model is trained."""

    steps: int = 100000
    """Updates; the learning rate's schedule spans them."""
    batch_size: int = 128
    """Samples in an update."""
    grad_accum: int = 1
    """Parts in which one process passes an update's samples through the model."""
    learning_rate: float = 0.0002
    """Peak learning rate."""
    warmup_steps: int = 5000
    """Updates in which the rate rises to its peak."""
    final_lr_share: float = 0.1
    """Share of the peak at which the cosine ends."""
    weight_decay: float = 0.0
    """Decay of matrices; gains are not decayed."""
    beta1: float = 0.9
    """AdamW's memory of the gradient."""
    beta2: float = 0.999
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
    ema_decay: float = 0.9999
    """Share of the moving average of the weights that stays in an update."""
    unconditional_probability: float = 0.1
    """Share of samples whose caption is withheld, for classifier-free guidance."""


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "train", "proxy"), Config()
    parser = shared_options(
        __doc__,
        data="folder of images, see data.py (default: bundled digits)",
        steps=f"stop after this many updates in all {sized(proxy, full, 'steps')}",
        batch_size=f"samples in an update {sized(proxy, full, 'batch_size')}",
        seed=f"of the weights and of the order of samples {sized(proxy, full, 'seed')}",
        resume="go on from the checkpoint",
    )
    training_options(parser, proxy, full)
    return parser.parse_args()


def noise_loss(
    module: nn.Module, batch: Batch, left: Tensor, nothing: Tensor, withheld: float
) -> tuple[Tensor, int]:
    """Return the mean squared error of the noise that the model finds, and of how many images.

    E over x, e and t of |e - model(sqrt(a_t) x + sqrt(1 - a_t) e, t)|^2, a number a pixel (Ho et
    al., 2020, arXiv:2006.11239, equation 14).

    Args:
        module: The model.
        batch: Images (B, C, H, W) and their conditions.
        left: What is left of an image at each noise level, from `signal`.
        nothing: The condition that stands for none, with a first dimension of 1.
        withheld: Share of the images that get it.
    """
    images, condition = batch
    left, nothing = left.to(images.device), nothing.to(images.device)
    t = torch.randint(len(left), (len(images),), device=images.device)
    noise = torch.randn_like(images)
    hidden = torch.rand(len(images), device=images.device) < withheld
    condition = torch.where(hidden.view(-1, *[1] * (condition.dim() - 1)), nothing, condition)
    found = module(add_noise(images, noise, left[t]), t, condition)
    return F.mse_loss(found.float(), noise), len(images)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of some samples without a meaning, to count what it takes."""
    c = model.config
    images = torch.zeros(samples, c.image_channels, c.image_height, c.image_width)
    found: Tensor = model(images, torch.zeros(samples), conditions(c, [""] * samples, []))
    return F.mse_loss(found.float(), images)


def task(args: argparse.Namespace, config: Config) -> Task:
    """Return what there is to train: the model, the images and the loss."""
    data_config = load_config(DataConfig, "data", args.size)
    model = load_config(ModelConfig, "model", args.size)
    data = load_images(data_config, args.data, model)
    left = signal(data_config.noise_schedule, data_config.timesteps)
    nothing, withheld = conditions(model, [""], data.classes), config.unconditional_probability
    train_split, val_split, classes = data.splits["train"], data.splits["val"], data.classes
    return Task(
        config=config,
        build=lambda: Model(model),
        batch=lambda start, n: batch_at(train_split, start, n, model, classes, config.seed),
        held_out=lambda size: batches(val_split, size, model, classes),
        loss=lambda module, batch: noise_loss(module, batch, left, nothing, withheld),
        example=lambda module: example_loss(module, 1, data_config),
        identity={"sha256": data.sha256, **named(data=data_config)},
        unit="images",
        entries={"classes": classes},
        average=lambda module: Average(module, config.ema_decay),
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
