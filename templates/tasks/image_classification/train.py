"""Train the classifier on your images, or on small digits that come with scikit-learn.

    python train.py                                       the proxy, on the bundled digits
    python train.py --data my_images --steps 2000         the proxy, on your folder
    python train.py --size full --data my_images          the full model
    python train.py --resume                              go on from the last checkpoint
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/metrics.jsonl and OUT/checkpoint, which transformers opens with
`AutoModelForImageClassification.from_pretrained("out/checkpoint")`.

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
from data import batch_at, batches, fitted, load_images, preprocessor
from model import Config as ModelConfig
from model import Model
from runtime.checkpoint import to_json
from runtime.device import choose_device
from runtime.distributed import processes
from runtime.errors import run
from runtime.images import position_after
from runtime.options import shared_options, sized, training_options
from runtime.settings import load_config
from runtime.training import Batch, Task, named, settings, train


@dataclass(frozen=True)
class Config:
    """How the model is trained."""

    steps: int = 375000
    """Updates; the learning rate's schedule spans them."""
    batch_size: int = 1024
    """Samples in an update."""
    grad_accum: int = 1
    """Parts in which one process passes an update's samples through the model."""
    learning_rate: float = 0.001
    """Peak learning rate."""
    warmup_steps: int = 6255
    """Updates in which the rate rises to its peak."""
    final_lr_share: float = 0.01
    """Share of the peak at which the cosine ends."""
    weight_decay: float = 0.05
    """Decay of matrices and kernels; gains and biases are not decayed."""
    beta1: float = 0.9
    """AdamW's memory of the gradient."""
    beta2: float = 0.999
    """AdamW's memory of its square."""
    grad_clip: float = 1.0
    """Greatest norm of the gradient."""
    eval_every: int = 1000
    """Updates between two looks at the validation split."""
    eval_batches: int = 16
    """Batches of the validation split in such a look, at most."""
    save_every: int = 1000
    """Updates between two checkpoints."""
    dtype: str = "auto"
    """auto, float32, or bfloat16 (autocast; weights stay float32)."""
    seed: int = 42
    """Draws the first weights, the order of samples and how they are varied."""
    label_smoothing: float = 0.1
    """Share of a target's weight that all classes get alike (arXiv:1512.00567, section 7)."""


def command_line() -> argparse.Namespace:
    """Return the options."""
    proxy, full = load_config(Config, "train", "proxy"), Config()
    parser = shared_options(
        __doc__,
        data="a folder with a folder of images for each class (default: bundled digits)",
        steps=f"stop after this many updates in all {sized(proxy, full, 'steps')}",
        batch_size=f"samples in an update {sized(proxy, full, 'batch_size')}",
        seed=f"of the weights and of the order of samples {sized(proxy, full, 'seed')}",
        resume="go on from the checkpoint",
    )
    training_options(parser, proxy, full)
    return parser.parse_args()


def class_loss(module: nn.Module, batch: Batch, label_smoothing: float) -> tuple[Tensor, int]:
    """Return the mean cross-entropy of the classes in nats, and over how many images.

    -(1 / B) * sum over images and classes k of q_k log p_k, where q is 1 - s for the image's
    class and s / K for all K classes besides. Outside of training s is 0.
    """
    images, targets = batch  # (B, C, H, W), (B,)
    smoothing = label_smoothing if module.training else 0.0
    logits = module(images).float()  # (B, K)
    return F.cross_entropy(logits, targets, label_smoothing=smoothing), len(targets)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of some samples without a meaning, to count what it takes."""
    c = model.config
    images = torch.zeros(samples, c.num_channels, c.image_height, c.image_width)
    return class_loss(model, (images, torch.zeros(samples, dtype=torch.int64)), 0.0)[0]


def task(args: argparse.Namespace, config: Config) -> Task:
    """Return what there is to train: the model, the images and the loss."""
    data = load_config(DataConfig, "data", args.size)
    model = load_config(ModelConfig, "model", args.size)
    images = load_images(data, args.data, model)
    model = fitted(model, images.labels, args.size)

    def batch(start: int, count: int) -> Batch:
        following = position_after(start, count, config.batch_size)
        return batch_at(images.splits["train"], start, count, following, data, config.seed)

    return Task(
        config=config,
        build=lambda: Model(model),
        batch=batch,
        held_out=lambda size: batches(images.splits["val"], size, data),
        loss=lambda module, each: class_loss(module, each, config.label_smoothing),
        example=lambda module: example_loss(module, 1, data),
        identity={"sha256": images.sha256, **named(data=data)},
        unit="images",
        entries={
            "id2label": {str(number): label for number, label in enumerate(images.labels)},
            "label2id": {label: number for number, label in enumerate(images.labels)},
        },
        texts={"preprocessor_config.json": to_json(preprocessor(model, data))},
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
