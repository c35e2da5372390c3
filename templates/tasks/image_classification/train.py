"""Train the classifier on your images, or on small digits that come with scikit-learn.

    python train.py                                       the proxy, on the bundled digits
    python train.py --data my_images --steps 2000         the proxy, on your folder
    python train.py --size full --data my_images          the full model
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint, which transformers opens with
`AutoModelForImageClassification.from_pretrained("out/checkpoint")`.

Where the model has batch normalization, each part of an update that passes through the model at
once is normalized by its own mean and variance. So several processes, or --grad-accum, give other
numbers than one process with the whole batch. The running statistics, which a checkpoint keeps and
evaluation uses, are those of the first process: it sees as many samples a step as any other.
"""

import argparse
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import Config as DataConfig
from data import fitted, load_images
from model import Config as ModelConfig
from model import Model
from runtime.augmentation import mixed
from runtime.checkpoint import to_json
from runtime.errors import fail, run
from runtime.image_batches import batch_at, batches, preprocessor
from runtime.images import position_after
from runtime.job import Batch, Job
from runtime.labels import class_names
from runtime.settings import Training
from runtime.training import script


@dataclass(frozen=True)
class Config(Training):
    """How the classifier is trained."""

    label_smoothing: float = 0.1
    """Share of a target's weight that is spread over all classes (arXiv:1512.00567, section 7)."""
    mixup: float = 0.0
    """Each training image is added to another one, in shares from Beta(mixup, mixup); 0: none."""
    cutmix: float = 0.0
    """A rectangle of another image replaces its own, of a share from Beta(cutmix, cutmix)."""
    drop_path: float = 0.0
    """Share of samples for which the last block is left out; it rises from 0 at the first one."""


def class_loss(module: nn.Module, batch: Batch, label_smoothing: float) -> tuple[Tensor, int]:
    """Return the mean cross-entropy of the classes in nats, and the number of images.

    -(1 / B) * sum over images and classes k of q_k log p_k, where q_k is s / K for all K classes,
    plus 1 - s for the image's own.
    """
    images, targets = batch  # (B, C, H, W), (B,)
    # Validation does not smooth, so that its loss is that of the true classes.
    smoothing = label_smoothing if module.training else 0.0
    # A bfloat16 softmax over many classes would lose the small probabilities.
    logits = module(images).float()  # (B, K)
    return F.cross_entropy(logits, targets, label_smoothing=smoothing), len(targets)


def training_loss(module: nn.Module, batch: Batch, config: Config) -> tuple[Tensor, int]:
    """Return the loss of `class_loss`; in training, of mixed images and their two classes."""
    images, targets = batch
    if not module.training or not (config.mixup or config.cutmix):
        return class_loss(module, batch, config.label_smoothing)
    images, share = mixed(images, config.mixup, config.cutmix)
    logits = module(images).float()  # (B, K)
    # Cross-entropy is linear in the target, so two losses are as good as a mixed target.
    own, other = (
        F.cross_entropy(logits, each, label_smoothing=config.label_smoothing)
        for each in (targets, targets.flip(0))
    )
    return share * own + (1 - share) * other, len(targets)


def built(model: ModelConfig, drop_path: float) -> Model:
    """Return the network; deeper blocks are left out for more samples (arXiv:1603.09382)."""
    network = Model(model)
    depths: list[Any] = [module for module in network.modules() if hasattr(module, "rate")]
    if drop_path and not depths:
        fail("this network has no residual branch to leave out: set drop_path to 0.")
    for place, depth in enumerate(depths):
        depth.rate = drop_path * place / max(1, len(depths) - 1)
    return network


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    c = model.config
    images = torch.zeros(samples, c.num_channels, c.image_height, c.image_width)
    return class_loss(model, (images, torch.zeros(samples, dtype=torch.int64)), 0.0)[0]


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    images = load_images(data, args.data, model)
    # The proxy gets one output for each class of the data, whatever data that is.
    model = fitted(model, images.labels, args.size)

    def batch(start: int, count: int) -> Batch:
        # The next files are read from disk while the model computes.
        following = position_after(start, count, config.batch_size)
        return batch_at(images.splits["train"], start, count, following, data, config.seed)

    return Job(
        config=config,
        data=data,
        name=images.name,
        sha256=images.sha256,
        splits={split: len(each.targets) for split, each in images.splits.items()},
        build=lambda: built(model, config.drop_path),
        batch=batch,
        held_out=lambda size: batches(images.splits["val"], size, data),
        loss=lambda module, each: training_loss(module, each, config),
        example=example_loss,
        unit="images",
        entries=class_names(images.labels, model.num_classes),
        texts={"preprocessor_config.json": to_json(preprocessor(model, data))},
    )


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="a folder with a folder of images for each class (default: bundled digits)",
)

if __name__ == "__main__":
    run(main)
