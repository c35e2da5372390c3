"""A caption as the condition of a model: its bytes, and the encoder that reads them.

Shapes in comments: B captions, T bytes, D dimensions of the text.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def caption_bytes(config: Any, captions: Sequence[str]) -> Tensor:
    """Return (B, T), the bytes of captions, cut or padded; the empty caption stands for none."""
    length, filler = config.text_length, config.vocab_size - 1
    rows = [list(caption.encode()[:length]) for caption in captions]
    return torch.tensor([row + [filler] * (length - len(row)) for row in rows])


class TextEncoder(nn.Module):
    """A bidirectional Transformer over the bytes of a caption and its padding."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        width = config.text_width
        sizes = (width, config.text_heads, 4 * width, 0.0, F.gelu)
        self.bytes = nn.Embedding(config.vocab_size, width)
        self.places = nn.Embedding(config.text_length, width)
        for table in (self.bytes, self.places):  # Rows then have a length of about 1.
            nn.init.normal_(table.weight, std=width**-0.5)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(*sizes, batch_first=True, norm_first=True)
            for _ in range(config.text_layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, T) to (B, T, D)."""
        x: Tensor = self.bytes(tokens) + self.places.weight
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x)
        return x
