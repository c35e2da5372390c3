"""BERT's head: the vector of the first token, pooled, gives some outputs of a text.

Shapes in comments: B texts, T tokens.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layers.encoder import Encoder, bert_name


class PooledEncoder(Encoder):
    """An encoder with the head of transformers' BertForSequenceClassification."""

    def __init__(self, config: Any, outputs: int) -> None:
        super().__init__(config)
        self.config = config
        self.pooler = nn.Linear(config.d_model, config.d_model)
        self.classifier = nn.Linear(config.d_model, outputs)

    def outputs(self, tokens: Tensor, segments: Tensor | None = None) -> Tensor:
        """Return the outputs (B, outputs) of texts (B, T), token 0 after the end of each."""
        first = self.encode(tokens, segments)[:, 0]  # (B, d_model)
        pooled = torch.tanh(self.pooler(first))
        outputs: Tensor = self.classifier(F.dropout(pooled, self.config.dropout, self.training))
        return outputs

    def num_params(self) -> int:
        """Return the number of weights."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a parameter in transformers' BertForSequenceClassification."""
        return name if name.startswith("classifier.") else f"bert.{bert_name(name)}"
