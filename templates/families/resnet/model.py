"""A residual network in its bottleneck form (He et al., 2016, arXiv:1512.03385) that classifies.

Each block is relu(shortcut(x) + F(x)), where F narrows the channels to a quarter, mixes neighbours,
and widens them again. The first block of every stage but the first halves height and width in its
middle convolution.

Shapes in comments: B images, C channels.
"""

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from layers.convolution import Convolution
from layers.residual import EXPANSION, Bottleneck


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    image_height: int = 224  # pixels
    image_width: int = 224  # pixels
    num_channels: int = 3  # 3 for colours, 1 for grey
    num_classes: int = 1000  # number of classes
    width: int = 64  # channels within the first stage's blocks; each stage doubles them
    depth_1: int = 3  # blocks of the first stage
    depth_2: int = 4  # blocks of the second stage
    depth_3: int = 6  # blocks of the third stage
    depth_4: int = 3  # blocks of the fourth stage


class Model(nn.Module):
    """The classifier."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.depths = (config.depth_1, config.depth_2, config.depth_3, config.depth_4)
        self.stem = Convolution(config.num_channels, config.width, 7, stride=2)
        self.layers = nn.ModuleList()
        channels = config.width
        for stage, depth in enumerate(self.depths):
            width = config.width * 2**stage
            for index in range(depth):
                stride = 2 if stage and index == 0 else 1
                self.layers.append(Bottleneck(channels, width, stride))
                channels = EXPANSION * width
        self.classifier = nn.Linear(channels, config.num_classes)
        self._init_weights()

    def _init_weights(self) -> None:
        """Draw kernels from N(0, 2 / fan-out) (He et al., 2015, arXiv:1502.01852)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, num_classes) of images (B, C, height, width)."""
        x = F.relu(self.stem(images))  # (B, width, height / 2, width / 2)
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.classifier(x.mean((2, 3)))  # (B, 32 * width), over all places
        return logits

    def num_params(self) -> int:
        """Return the number of weights; running statistics are none."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a tensor in transformers' ResNetForImageClassification."""
        head, _, rest = name.partition(".")
        if head == "classifier":
            return f"classifier.1.{rest}"
        if head == "stem":
            return f"resnet.embedder.embedder.{rest}"
        number, part, rest = rest.split(".", 2)
        stage, place = 0, int(number)
        while place >= self.depths[stage]:
            place -= self.depths[stage]
            stage += 1
        order = {"narrow": "layer.0", "mix": "layer.1", "widen": "layer.2"}
        return f"resnet.encoder.stages.{stage}.layers.{place}.{order.get(part, part)}.{rest}"

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json, with which transformers loads it as ResNet."""
        width = self.config.width
        return {
            "architectures": ["ResNetForImageClassification"],
            "model_type": "resnet",
            "embedding_size": width,
            "hidden_sizes": [EXPANSION * width * 2**stage for stage in range(4)],
            "depths": list(self.depths),
            "layer_type": "bottleneck",
            "hidden_act": "relu",
            "downsample_in_first_stage": False,
            "downsample_in_bottleneck": False,
        }
