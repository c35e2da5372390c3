"""A patch transformer for forecasts: PatchTST (Nie et al., 2023, arXiv:2211.14730).

A series is cut into overlapping patches, which are the tokens of a transformer encoder; one linear
layer turns all of its outputs into the forecast. Each series passes through alone, independent of
the others in its table (channel independence). Reversible instance normalization (Kim et al., 2022,
RevIN, without its affine part) removes the level and the scale of a window and restores them.

Shapes in comments: B series, N patches.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from layers.patches import PatchEncoder, patchtst_config, patchtst_name


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    lookback: int = 90  # steps of the past that a forecast sees
    horizon: int = 30  # steps of the future that a forecast has
    patch_len: int = 18  # steps of a patch; below lookback
    stride: int = 9  # steps from the start of a patch to that of the next
    d_model: int = 384  # width of the residual stream
    n_layers: int = 6  # number of blocks
    n_heads: int = 8  # attention heads in each layer; they divide d_model
    d_ff: int = 1536  # width of the feed-forward layer
    dropout: float = 0.2  # share of each layer's outputs that training drops
    norm_eps: float = 1e-05  # added to a variance before its root, between layers


class Model(PatchEncoder):
    """The forecaster; transformers has it as PatchTSTForPrediction, of one channel."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.head = nn.Linear(self.n_patches * config.d_model, config.horizon)

    def forward(self, past: Tensor) -> Tensor:
        """Return the forecast (B, horizon), in the unit of the past (B, lookback)."""
        x, scale, mean = self.encode(past)  # (B, N, d_model) and twice (B, 1)
        forecast: Tensor = self.head(x.flatten(1)).float()  # (B, horizon)
        return forecast * scale + mean

    def num_params(self) -> int:
        """Return the number of weights."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a parameter in transformers' PatchTSTForPrediction."""
        return patchtst_name(name).replace("head.", "head.projection.", 1)

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json, with which transformers loads it as PatchTST."""
        return {
            **patchtst_config(self.config),
            "architectures": ["PatchTSTForPrediction"],
            "num_input_channels": 1,
            "prediction_length": self.config.horizon,
            "pooling_type": None,
            "loss": "mse",
        }
