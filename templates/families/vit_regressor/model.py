"""The Vision Transformer (Dosovitskiy et al., 2021, arXiv:2010.11929) as a regressor.

The vector of the class passes through the encoder beside the patches of an image, and a linear
layer on it gives one number: the target, standardized by the training images.

Shapes in comments: B images, C channels.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from layers.vit import ViTEncoder, vit_config, vit_name


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    image_height: int = 224  # pixels; a multiple of patch_size
    image_width: int = 224  # pixels; a multiple of patch_size
    patch_size: int = 16  # pixels along each side of a patch
    num_channels: int = 3  # 3 for colours, 1 for grey
    d_model: int = 768  # width of the residual stream
    n_layers: int = 12  # number of blocks
    n_heads: int = 12  # attention heads in each block; they divide d_model
    d_ff: int = 3072  # width of the feed-forward layer
    norm_eps: float = 1e-06  # added to the variance before its root


class Model(ViTEncoder):
    """The regressor."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.classifier = nn.Linear(config.d_model, 1)
        # It starts at zero, as in the authors' code, and so at the mean of the target.
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Return numbers (B) of images (B, C, height, width)."""
        numbers: Tensor = self.classifier(self.encode(images))
        return numbers.squeeze(1)

    def num_params(self) -> int:
        """Return the number of weights."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a parameter in transformers' ViTForImageClassification."""
        return name if name.startswith("classifier.") else f"vit.{vit_name(name)}"

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json, with which transformers loads it as ViT."""
        return {
            "architectures": ["ViTForImageClassification"],
            "num_labels": 1,
            "problem_type": "regression",
            **vit_config(self.config),
        }
