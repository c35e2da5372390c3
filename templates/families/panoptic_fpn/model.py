"""Panoptic FPN over a ResNet (Kirillov et al., 2019, arXiv:1901.02446).

A Mask R-CNN (arXiv:1703.06870) finds the things of an image, which can be counted, and draws the
mask of each. A light branch over the same feature pyramid (arXiv:1612.03144) tells of each pixel
which stuff it shows, or that it belongs to a thing. Both are merged outside of the network.

Shapes in comments: B images, C channels, h x w places of a map, A anchors of a place, N anchors of
an image, P proposals, S sampled regions, M things of an image, K classes of things, T classes of
stuff, D detections, R pixels a side of a mask.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from layers.regions import Detections, Features, RegionNetwork
from layers.semantic_branch import SemanticBranch

SEMANTIC_LEVELS = 4  # levels of the pyramid that the semantic branch reads: all but the coarsest
SEMANTIC_WEIGHT = 0.5  # factor of the semantic loss, as in detectron2 and MMDetection


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    image_height: int = 1024  # pixels
    image_width: int = 1024  # pixels
    num_channels: int = 3  # 3 for colours, 1 for grey
    num_classes: int = 80  # classes of things
    num_stuff: int = 53  # classes of stuff
    width: int = 64  # channels within the first stage's blocks; each stage doubles them
    depth_1: int = 3  # blocks of the first stage
    depth_2: int = 4  # blocks of the second stage
    depth_3: int = 6  # blocks of the third stage
    depth_4: int = 3  # blocks of the fourth stage
    fpn_channels: int = 256  # channels of every level of the pyramid, and of the mask head
    semantic_channels: int = 128  # channels of the semantic branch
    d_hidden: int = 1024  # units of the box head's two layers
    mask_depth: int = 4  # convolutions of the mask head
    mask_resolution: int = 28  # pixels a side of a mask; even
    anchor_size: int = 32  # pixels a side of the finest level's anchors; each level doubles it
    num_proposals: int = 1000  # regions of an image that are classified; twice as many in training
    num_sampled: int = 512  # regions of an image that the heads learn from
    num_detections: int = 100  # things of an image, at most
    frozen_norm: bool = False  # whether normalization only applies what a pretrained backbone has


class Segmented(NamedTuple):
    """What a network tells of images: things as Mask R-CNN does, and the stuff of each place.

    Attributes:
        boxes: (B, D, 4) left, top, right and bottom in pixels.
        classes: (B, D); -1 where fewer things were detected.
        scores: (B, D) probability of the class.
        masks: (B, D, R, R) probability that a part of the box belongs to the thing.
        stuff: (B, T + 1, height / 4, width / 4) logits of the classes of stuff, behind that of all
            things.
    """

    boxes: Tensor
    classes: Tensor
    scores: Tensor
    masks: Tensor
    stuff: Tensor


class Model(RegionNetwork):
    """The network; what it shares with Mask R-CNN has torchvision's names in a checkpoint."""

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.semantic_branch = SemanticBranch(
            config.fpn_channels, config.semantic_channels, config.num_stuff + 1, SEMANTIC_LEVELS
        )

    def forward(
        self,
        images: Tensor,
        boxes: Tensor | None = None,
        classes: Tensor | None = None,
        masks: Tensor | None = None,
        stuff: Tensor | None = None,
    ) -> Any:
        """Return `Segmented`, or with things and stuff the mean loss of an image.

        Args:
            images: (B, C, height, width), values from -1 to 1.
            boxes: (B, M, 4) the things' boxes in pixels.
            classes: (B, M) their classes; -1 where an image has fewer things.
            masks: (B, M, height, width) which pixels are theirs.
            stuff: (B, height, width) the class of stuff of each pixel, from 1; 0 where it belongs
                to a thing, and -1 where it is not labelled.
        """
        features, logits = self.read(images)
        if boxes is None:
            found: Detections = self.detected(features)
            return Segmented(*found, logits)
        assert classes is not None
        assert masks is not None
        assert stuff is not None
        things = sum(self.losses(features, boxes, classes, masks))
        return things + SEMANTIC_WEIGHT * self.semantic_loss(logits, stuff)

    def read(self, images: Tensor) -> tuple[Features, Tensor]:
        """Return the pyramid of images as the heads read it, and the logits of stuff."""
        levels = self.levels(images)
        logits = self.semantic_branch(levels[:SEMANTIC_LEVELS])
        return self.features(levels), logits

    def semantic_loss(self, logits: Tensor, stuff: Tensor) -> Tensor:
        """Return the mean over images of the mean cross-entropy of their labelled pixels."""
        size = stuff.shape[-2:]
        logits = F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)
        wrong = F.cross_entropy(logits, stuff, ignore_index=-1, reduction="none")  # (B, h, w)
        labelled = (stuff >= 0).sum((1, 2)).clamp(min=1)
        return (wrong.sum((1, 2)) / labelled).mean()

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a tensor in torchvision's Mask R-CNN, or its own in the branch."""
        return name if name.startswith("semantic_branch.") else super().checkpoint_name(name)

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json: none."""
        return {}
