"""The Vision Transformer (Dosovitskiy et al., 2021, arXiv:2010.11929) that embeds images.

The vector of the class passes through the encoder beside the patches of an image; a linear layer
projects it, and its length is made 1, so that a product of two vectors is a cosine.

Shapes in comments: B images, C channels, E dimensions of a vector.
"""

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from layers.vit import ViTEncoder, vit_config, vit_name


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    image_height: int = 224  # pixels; a multiple of patch_size
    image_width: int = 224  # pixels; a multiple of patch_size
    patch_size: int = 16  # pixels along each side of a patch
    num_channels: int = 3  # 3 for colours, 1 for grey
    embed_dim: int = 128  # dimensions of an image's vector
    d_model: int = 768  # width of the residual stream
    n_layers: int = 12  # number of blocks
    n_heads: int = 12  # attention heads in each block; they divide d_model
    d_ff: int = 3072  # width of the feed-forward layer
    norm_eps: float = 1e-06  # added to the variance before its root


class Model(ViTEncoder):
    """The embedder."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.projection = nn.Linear(config.d_model, config.embed_dim)

    def forward(self, images: Tensor) -> Tensor:
        """Return vectors (B, E) of length 1 of images (B, C, height, width)."""
        return F.normalize(self.projection(self.encode(images)), dim=1)

    def num_params(self) -> int:
        """Return the number of weights."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a parameter in transformers' ViTForImageClassification."""
        if name.startswith("projection."):
            return name.replace("projection", "classifier")
        return f"vit.{vit_name(name)}"

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json.

        transformers has no class for a projected ViT, but one of the same network: the logits of
        ViTForImageClassification are the vector before its length is made 1.
        """
        names = {str(n): f"dimension {n}" for n in range(self.config.embed_dim)}
        return {
            "architectures": ["ViTForImageClassification"],
            "id2label": names,
            "label2id": {name: int(number) for number, name in names.items()},
            **vit_config(self.config),
        }
