"""A residual network in its bottleneck form, without a head (He et al., 2016, arXiv:1512.03385)."""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from layers.convolution import Convolution
from layers.depth import StochasticDepth

EXPANSION = 4  # channels of a block's output for each channel within


class Bottleneck(nn.Module):
    """One residual block."""

    def __init__(
        self,
        inputs: int,
        width: int,
        stride: int,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        outputs = EXPANSION * width
        self.narrow = Convolution(inputs, width, 1, norm=norm)
        self.mix = Convolution(width, width, 3, stride, norm)
        self.widen = Convolution(width, outputs, 1, norm=norm)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride != 1:
            self.shortcut = Convolution(inputs, outputs, 1, stride, norm)
        self.depth = StochasticDepth()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, outputs, h / stride, w / stride), rounded up."""
        inner = F.relu(self.narrow(x))
        inner = F.relu(self.mix(inner))
        return F.relu(self.shortcut(x) + self.depth(self.widen(inner)))


STAGES = 4
ORDER = {"narrow": "layer.0", "mix": "layer.1", "widen": "layer.2"}


def depths_of(config: Any) -> tuple[int, ...]:
    """Return the blocks of each stage."""
    return (config.depth_1, config.depth_2, config.depth_3, config.depth_4)


def features_of(config: Any) -> int:
    """Return the channels that the last stage ends with."""
    return int(EXPANSION * config.width * 2 ** (STAGES - 1))


def resnet_name(name: str, depths: tuple[int, ...]) -> str:
    """Return the name of a tensor of `ResNetEncoder` in transformers' ResNetModel."""
    head, _, rest = name.partition(".")
    if head == "stem":
        return f"embedder.embedder.{rest}"
    number, part, rest = rest.split(".", 2)
    stage, place = 0, int(number)
    while place >= depths[stage]:
        place -= depths[stage]
        stage += 1
    return f"encoder.stages.{stage}.layers.{place}.{ORDER.get(part, part)}.{rest}"


def resnet_config(config: Any) -> dict[str, Any]:
    """Return further entries of config.json, with which transformers loads it as ResNet."""
    return {
        "model_type": "resnet",
        "embedding_size": config.width,
        "hidden_sizes": [EXPANSION * config.width * 2**stage for stage in range(STAGES)],
        "depths": list(depths_of(config)),
        "layer_type": "bottleneck",
        "hidden_act": "relu",
        "downsample_in_first_stage": False,
        "downsample_in_bottleneck": False,
    }


class ResNetEncoder(nn.Module):
    """A stem that quarters the image, and four stages of blocks."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.stem = Convolution(config.num_channels, config.width, 7, stride=2)
        self.layers = nn.ModuleList()
        channels = config.width
        for stage, depth in enumerate(depths_of(config)):
            width = config.width * 2**stage
            for index in range(depth):
                stride = 2 if stage and index == 0 else 1
                self.layers.append(Bottleneck(channels, width, stride))
                channels = EXPANSION * width
        self._init_weights()

    def _init_weights(self) -> None:
        """Draw kernels from N(0, 2 / fan-out) (He et al., 2015, arXiv:1502.01852)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def encode(self, images: Tensor) -> Tensor:
        """Return the mean of the last channels over all places, (B, 32 * width).

        Images are (B, C, height, width).
        """
        x = F.relu(self.stem(images))  # (B, width, height / 2, width / 2)
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for layer in self.layers:
            x = layer(x)
        mean: Tensor = x.mean((2, 3))
        return mean
