"""Mask R-CNN over a ResNet with a feature pyramid (He et al., 2017, arXiv:1703.06870).

The pyramid (arXiv:1612.03144) gives every resolution of the backbone the same channels. A region
proposal network (arXiv:1506.01497) finds boxes in which something may be; of each, a head tells the
class and moves the box, and another draws the mask of what is in it. All sizes and constants are
those of torchvision's Mask R-CNN. Every image has the same number of proposals and of detections,
of which some may be empty, so that the shapes of a pass do not depend on what an image shows.

Shapes in comments: B images, C channels, h x w places of a map, A anchors of a place, N anchors of
an image, P proposals, S sampled regions, M objects of an image, K classes beside the background, D
detections, R pixels a side of a mask.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from layers.regions import RegionNetwork


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    image_height: int = 1024  # pixels
    image_width: int = 1024  # pixels
    num_channels: int = 3  # 3 for colours, 1 for grey
    num_classes: int = 80  # classes of objects; the background is one more
    width: int = 64  # channels within the first stage's blocks; each stage doubles them
    depth_1: int = 3  # blocks of the first stage
    depth_2: int = 4  # blocks of the second stage
    depth_3: int = 6  # blocks of the third stage
    depth_4: int = 3  # blocks of the fourth stage
    fpn_channels: int = 256  # channels of every level of the pyramid, and of the mask head
    d_hidden: int = 1024  # units of the box head's two layers
    mask_depth: int = 4  # convolutions of the mask head
    mask_resolution: int = 28  # pixels a side of a mask; even
    anchor_size: int = 32  # pixels a side of the finest level's anchors; each level doubles it
    num_proposals: int = 1000  # regions of an image that are classified; twice as many in training
    num_sampled: int = 512  # regions of an image that the heads learn from
    num_detections: int = 100  # objects of an image, at most
    frozen_norm: bool = False  # whether normalization only applies what a pretrained backbone has


class Model(RegionNetwork):
    """The network; a checkpoint has the names of torchvision's Mask R-CNN."""

    config: Config

    def forward(
        self,
        images: Tensor,
        boxes: Tensor | None = None,
        classes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> Any:
        """Return `Detections`, or with objects the mean loss of an image, the sum of five.

        Args:
            images: (B, C, height, width), values from -1 to 1.
            boxes: (B, M, 4) the objects' boxes in pixels.
            classes: (B, M) their classes; -1 where an image has fewer objects.
            masks: (B, M, height, width) which pixels are theirs.
        """
        features = self.features(self.levels(images))
        if boxes is None:
            return self.detected(features)
        assert classes is not None
        assert masks is not None
        return sum(self.losses(features, boxes, classes, masks))

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json: none."""
        return {}
