"""CLIP: an image tower and a text tower whose outputs lie in one space (Radford et al., 2021).

arXiv:2103.00020, section 2.4: a Vision Transformer (Dosovitskiy et al., 2021, arXiv:2010.11929)
with one more normalization before its blocks, a causal text Transformer read at the end of the
text, a linear projection of each, and a learned temperature.

Shapes in comments: B pairs, N patches of an image, T tokens, D width of a tower, E dimensions of
the common space.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layers.tower import TowerBlock

END_OF_TEXT = 0  # The token ends a text and pads the rest of its row.


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    embed_dim: int = 768  # dimensions of the space of images and texts
    in_channels: int = 3  # channels of an image: 1 for grey, 3 for colours
    image_size: int = 224  # pixels of a side; a multiple of patch_size
    patch_size: int = 14  # pixels of a patch's side
    vision_d_model: int = 1024  # width of the image tower
    vision_n_layers: int = 24  # its blocks
    vision_n_heads: int = 16  # its attention heads in each block; they divide its width
    vision_d_ff: int = 4096  # width of its feed-forward layers
    text_d_model: int = 768  # width of the text tower
    text_n_layers: int = 12  # its blocks
    text_n_heads: int = 12  # its attention heads in each block; they divide its width
    text_d_ff: int = 3072  # width of its feed-forward layers
    vocab_size: int = 49408  # entries of the text's vocabulary
    max_seq_len: int = 77  # longest text, in tokens, its end included
    norm_eps: float = 1e-05  # added to a variance before its root


def quick_gelu(x: Tensor) -> Tensor:
    """Return x * sigmoid(1.702 x), an approximation of GELU (arXiv:1606.08415)."""
    return x * torch.sigmoid(1.702 * x)


class ImageTower(nn.Module):
    """A Vision Transformer whose output is taken at its class token."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        width, patches = c.vision_d_model, (c.image_size // c.patch_size) ** 2
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.patch_embedding = nn.Conv2d(
            c.in_channels, width, c.patch_size, stride=c.patch_size, bias=False
        )
        self.position_embedding = nn.Embedding(patches + 1, width)
        self.pre_layrnorm = nn.LayerNorm(width, c.norm_eps)  # the spelling of transformers
        self.layers = nn.ModuleList(
            TowerBlock(width, c.vision_n_heads, c.vision_d_ff, c.norm_eps, quick_gelu)
            for _ in range(c.vision_n_layers)
        )
        self.post_layernorm = nn.LayerNorm(width, c.norm_eps)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, image_size, image_size) to (B, D)."""
        x = self.patch_embedding(images).flatten(2).transpose(1, 2)  # (B, N, D)
        first = self.class_embedding.expand(len(images), 1, -1)
        x = torch.cat((first, x), dim=1) + self.position_embedding.weight  # (B, N + 1, D)
        x = self.pre_layrnorm(x)
        for layer in self.layers:
            x = layer(x)
        out: Tensor = self.post_layernorm(x[:, 0])
        return out


class TextTower(nn.Module):
    """A causal Transformer whose output is taken at the end of the text."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(c.vocab_size, c.text_d_model)
        self.position_embedding = nn.Embedding(c.max_seq_len, c.text_d_model)
        self.layers = nn.ModuleList(
            TowerBlock(
                c.text_d_model, c.text_n_heads, c.text_d_ff, c.norm_eps, quick_gelu, causal=True
            )
            for _ in range(c.text_n_layers)
        )
        self.final_layer_norm = nn.LayerNorm(c.text_d_model, c.norm_eps)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, T), each row with its END_OF_TEXT, to (B, D)."""
        x = self.token_embedding(tokens) + self.position_embedding.weight[: tokens.size(1)]
        for layer in self.layers:
            x = layer(x)  # (B, T, D)
        ends = (tokens == END_OF_TEXT).int().argmax(1)  # the first in each row
        out: Tensor = self.final_layer_norm(x[torch.arange(len(x), device=x.device), ends])
        return out


class Model(nn.Module):
    """The two towers; a checkpoint opens as transformers' CLIPModel."""

    scalars = ("logit_scale",)  # A checkpoint holds this single number without a dimension.

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.vision_model = ImageTower(config)
        self.text_model = TextTower(config)
        self.visual_projection = nn.Linear(config.vision_d_model, config.embed_dim, bias=False)
        self.text_projection = nn.Linear(config.text_d_model, config.embed_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor([math.log(1 / 0.07)]))  # section 2.5
        self._init_weights()

    def _init_weights(self) -> None:
        """Draw matrices from N(0, 1 / fan-in), the last ones of attention and MLP smaller.

        The 2L outputs that a tower adds to its stream sum up, so each is scaled by 1 / sqrt(2L)
        (Radford et al., 2019, section 2.3). Token and position tables are drawn as in the paper's
        code.
        """
        for tower in (self.vision_model, self.text_model):
            writes = 1 / math.sqrt(2 * len(tower.layers))
            for name, weight in tower.named_parameters():
                if name.startswith(("token", "position")):
                    nn.init.normal_(weight, std=0.02 if name.startswith("token") else 0.01)
                elif name.startswith("class"):
                    nn.init.normal_(weight, std=len(weight) ** -0.5)
                elif weight.dim() > 1:
                    scale = writes if name.endswith(("out_proj.weight", "fc2.weight")) else 1.0
                    nn.init.normal_(weight, std=scale * weight[0].numel() ** -0.5)
                elif name.endswith("bias"):
                    nn.init.zeros_(weight)
        for projection in (self.visual_projection, self.text_projection):
            nn.init.normal_(projection.weight, std=projection.in_features**-0.5)

    def encode_images(self, images: Tensor) -> Tensor:
        """Map images (B, C, image_size, image_size), -1 to 1, to vectors (B, E) of length 1."""
        return F.normalize(self.visual_projection(self.vision_model(images)), dim=-1)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, T), each row with its END_OF_TEXT, to vectors (B, E) of length 1."""
        return F.normalize(self.text_projection(self.text_model(tokens)), dim=-1)

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return vectors (B, E) of images and of texts, whose products are the logits.

        The vectors of images are multiplied by the inverse temperature, at most 100 (section 2.5).
        """
        scale = self.logit_scale.clamp(max=math.log(100)).exp()
        return scale * self.encode_images(images), self.encode_texts(tokens)

    def num_params(self) -> int:
        """Return the number of weights."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a parameter in transformers' CLIPModel."""
        tower, _, rest = name.partition(".")
        if rest.startswith("layers."):
            return f"{tower}.encoder.{rest}"
        return f"{tower}.embeddings.{rest}" if "_embedding" in rest else name

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json, with which transformers loads it as CLIP."""
        c = self.config
        common = {"layer_norm_eps": c.norm_eps, "hidden_act": "quick_gelu"}
        return {
            "architectures": ["CLIPModel"],
            "model_type": "clip",
            "projection_dim": c.embed_dim,
            "vision_config": {
                "hidden_size": c.vision_d_model,
                "num_hidden_layers": c.vision_n_layers,
                "num_attention_heads": c.vision_n_heads,
                "intermediate_size": c.vision_d_ff,
                "num_channels": c.in_channels,
                "image_size": c.image_size,
                "patch_size": c.patch_size,
                "projection_dim": c.embed_dim,
                **common,
            },
            "text_config": {
                "hidden_size": c.text_d_model,
                "num_hidden_layers": c.text_n_layers,
                "num_attention_heads": c.text_n_heads,
                "intermediate_size": c.text_d_ff,
                "vocab_size": c.vocab_size,
                "max_position_embeddings": c.max_seq_len,
                "projection_dim": c.embed_dim,
                "bos_token_id": None,
                "eos_token_id": END_OF_TEXT,
                "pad_token_id": END_OF_TEXT,
                **common,
            },
        }
