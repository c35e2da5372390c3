"""A residual network in its bottleneck form (He et al., 2016, arXiv:1512.03385) as a regressor.

Each block is relu(shortcut(x) + F(x)), where F narrows the channels to a quarter, mixes neighbours,
and widens them again. The first block of every stage but the first halves height and width in its
middle convolution. A linear layer on the mean of the last channels gives one number: the target,
standardized by the training images.

Shapes in comments: B images, C channels.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from layers.residual import ResNetEncoder, depths_of, features_of, resnet_config, resnet_name


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    image_height: int = 224  # pixels
    image_width: int = 224  # pixels
    num_channels: int = 3  # 3 for colours, 1 for grey
    width: int = 64  # channels within the first stage's blocks; each stage doubles them
    depth_1: int = 3  # blocks of the first stage
    depth_2: int = 4  # blocks of the second stage
    depth_3: int = 6  # blocks of the third stage
    depth_4: int = 3  # blocks of the fourth stage


class Model(ResNetEncoder):
    """The regressor."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.classifier = nn.Linear(features_of(config), 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return numbers (B) of images (B, C, height, width)."""
        numbers: Tensor = self.classifier(self.encode(images))
        return numbers.squeeze(1)

    def num_params(self) -> int:
        """Return the number of weights; running statistics are none."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a tensor in transformers' ResNetForImageClassification."""
        if name.startswith("classifier."):
            return name.replace("classifier", "classifier.1")
        return f"resnet.{resnet_name(name, depths_of(self.config))}"

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json, with which transformers loads it as ResNet."""
        return {
            "architectures": ["ResNetForImageClassification"],
            "num_labels": 1,
            "problem_type": "regression",
            **resnet_config(self.config),
        }
