"""Train the embedder on your images, or on letters in the fonts of matplotlib.

    python train.py                                       the proxy, on the bundled letters
    python train.py --data my_images --steps 2000         the proxy, on your folder
    python train.py --size full --data my_images          the full model
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint, which transformers opens with
`AutoModelForImageClassification.from_pretrained("out/checkpoint")`: its logits are the vector
before its length is made 1.
"""

import argparse
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import Config as DataConfig
from data import Order, batch_at, held_out, load_images
from model import Config as ModelConfig
from model import Model
from runtime.checkpoint import to_json
from runtime.device import in_float32
from runtime.errors import run
from runtime.gather import gather, own_places
from runtime.image_batches import preprocessor
from runtime.images import position_after
from runtime.job import Batch, Job
from runtime.settings import Training
from runtime.training import script


@dataclass(frozen=True)
class Config(Training):
    """How the embedder is trained."""

    temperature: float = 0.1
    """Divides cosines before the softmax; a lower one weighs the nearest wrong images more."""


def contrastive_loss(module: nn.Module, batch: Batch, temperature: float) -> tuple[Tensor, int]:
    """Return the supervised contrastive loss in nats, and the number of images.

    For each image i, -mean over the others p of its class of log softmax(z_i z_p / t) among all
    images but i itself (Khosla et al., 2020, equation 2); the mean over all i, of which one without
    another of its class counts 0. "All" are those that all processes have in this part of the
    update.
    """
    images, targets = batch  # (B, C, H, W), (B,)
    vectors = module(images).float()  # (B, E)
    every, classes = gather(vectors), gather(targets)
    own = own_places(vectors, every)
    # Logits differ by less than bfloat16 can express.
    with in_float32(vectors.device):
        logits = vectors @ every.T / temperature
        itself = F.one_hot(own, len(every)).bool()
        shares = logits.masked_fill(itself, -torch.inf).log_softmax(1)
        same = (targets[:, None] == classes) & ~itself
        found = shares.masked_fill(~same, 0.0).sum(1) / same.sum(1).clamp_min(1)
    return -found.mean(), len(images)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    c = model.config
    images = torch.zeros(samples, c.num_channels, c.image_height, c.image_width)
    return contrastive_loss(model, (images, torch.arange(samples) // data.views), 0.1)[0]


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    images = load_images(data, args.data, model)
    train = images.splits["train"]
    order = Order(train.targets, data.views)

    def batch(start: int, count: int) -> Batch:
        # The next files are read from disk while the model computes.
        following = position_after(start, count, config.batch_size)
        return batch_at(train, order, start, count, following, data, config.seed)

    return Job(
        config=config,
        data=data,
        name=images.name,
        sha256=images.sha256,
        splits={split: len(each.targets) for split, each in images.splits.items()},
        build=lambda: Model(model),
        batch=batch,
        held_out=lambda size: held_out(images.splits["val"], size, data),
        loss=lambda module, each: contrastive_loss(module, each, config.temperature),
        example=example_loss,
        unit="images",
        texts={"preprocessor_config.json": to_json(preprocessor(model, data))},
    )


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="a folder with a folder of images for each class (default: bundled letters)",
)

if __name__ == "__main__":
    run(main)
