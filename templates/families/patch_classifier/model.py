"""A patch transformer that labels series: PatchTST (Nie et al., 2023, arXiv:2211.14730).

Each channel of a series is cut into overlapping patches, which are the tokens of a transformer
encoder; the channels pass through it separately, with the same weights. The mean of a channel's
tokens stands for it, and one linear layer on all channels gives a logit for each class.

Shapes in comments: B series, C channels, N patches.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from layers.patches import PatchEncoder, patchtst_config, patchtst_name


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    lookback: int = 336  # steps of a series
    n_channels: int = 1  # values of each step, such as the axes of a sensor
    num_classes: int = 2  # classes; each series has one
    patch_len: int = 18  # steps of a patch; below lookback
    stride: int = 9  # steps from the start of a patch to that of the next
    d_model: int = 384  # width of the residual stream
    n_layers: int = 6  # number of blocks
    n_heads: int = 8  # attention heads in each layer; they divide d_model
    d_ff: int = 1536  # width of the feed-forward layer
    dropout: float = 0.2  # share of each layer's outputs that training drops
    norm_eps: float = 1e-05  # added to a variance before its root, between layers


class Model(PatchEncoder):
    """The classifier; transformers has it as PatchTSTForClassification."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.classifier = nn.Linear(config.n_channels * config.d_model, config.num_classes)

    def forward(self, series: Tensor) -> Tensor:
        """Return logits (B, num_classes) of series (B, C, lookback)."""
        x, *_ = self.encode(series.flatten(0, 1))  # (B * C, N, d_model)
        pooled = x.mean(1)  # (B * C, d_model)
        logits: Tensor = self.classifier(pooled.view(len(series), -1))
        return logits

    def num_params(self) -> int:
        """Return the number of weights."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a parameter in transformers' PatchTSTForClassification."""
        return patchtst_name(name).replace("classifier.", "head.linear.", 1)

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json, with which transformers loads it as PatchTST."""
        return {
            **patchtst_config(self.config),
            "architectures": ["PatchTSTForClassification"],
            "num_input_channels": self.config.n_channels,
            "num_targets": self.config.num_classes,
            "pooling_type": "mean",
        }
