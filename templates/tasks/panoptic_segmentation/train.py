"""Train the segmentation network on your images, or on composed scenes of digits.

    python train.py                                       the proxy, on the bundled scenes
    python train.py --data my_images --steps 2000         the proxy, on your images and maps
    python train.py --size full --data my_images          the full model
    python train.py --resume                              go on from the last checkpoint
    python train.py --init-from other/checkpoint          start from the weights of another run
    torchrun --nproc-per-node 8 train.py --parallel fsdp  the same run on eight GPUs

Writes OUT/run.json, OUT/metrics.jsonl and OUT/checkpoint.
"""

import argparse
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from data import Config as DataConfig
from data import load_scenes
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.job import Batch, Job
from runtime.labels import class_names
from runtime.settings import Training
from runtime.training import script

EXAMPLE_THINGS = 8  # things of a dummy image; COCO has 7 in the mean


@dataclass(frozen=True)
class Config(Training):
    """How the segmentation network is trained."""


def panoptic_loss(module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Return the mean loss of an image, the sum of six, and the number of images.

    Five are those of Mask R-CNN: whether anchors and which class regions are, where their boxes
    move, and the cross-entropy of the masks' pixels. The sixth is that of the pixels' stuff.
    """
    images, boxes, classes, masks, stuff = batch
    return module(images, boxes, classes, masks, stuff), len(images)


def example_loss(model: Model, samples: int, data: DataConfig) -> Tensor:
    """Return the loss of a dummy batch, to count FLOPs and memory."""
    c = model.config
    images = torch.zeros(samples, c.num_channels, c.image_height, c.image_width)
    boxes = torch.zeros(samples, EXAMPLE_THINGS, 4)
    classes = torch.zeros(samples, EXAMPLE_THINGS, dtype=torch.int64)
    masks = torch.zeros(samples, EXAMPLE_THINGS, c.image_height, c.image_width, dtype=torch.bool)
    stuff = torch.zeros(samples, c.image_height, c.image_width, dtype=torch.int64)
    loss: Tensor = model(images, boxes, classes, masks, stuff)
    return loss


def job_of(args: argparse.Namespace, config: Config, data: DataConfig, model: ModelConfig) -> Job:
    pictures = load_scenes(data, args.data, model)
    return Job(
        config=config,
        data=data,
        name=pictures.name,
        sha256=pictures.sha256,
        splits={split: len(each) for split, each in pictures.splits.items()},
        build=lambda: Model(model),
        batch=lambda start, count: pictures.batch_at(data, start, count, config.seed),
        held_out=lambda size: pictures.batches("val", size),
        loss=panoptic_loss,
        example=example_loss,
        unit="images",
        entries=class_names(pictures.named(), len(pictures.classes)),
    )


main = script(
    __doc__,
    (Config, DataConfig, ModelConfig),
    job_of,
    data="folder with images and COCO panoptic files (default: composed scenes)",
)

if __name__ == "__main__":
    run(main)
