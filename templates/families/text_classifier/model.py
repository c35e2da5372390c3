"""A text classifier in the BERT form (Devlin et al., 2019, arXiv:1810.04805).

A bidirectional encoder reads the text; the vector of its first token, [CLS], passes through a
pooler, and a linear layer gives a logit for each class.

Shapes in comments: B texts, T tokens, C classes.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from layers.encoder import bert_config, init_weights
from layers.pooled import PooledEncoder


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    d_model: int = 768  # width of the residual stream
    n_layers: int = 12  # number of blocks
    n_heads: int = 12  # heads in each layer; they divide d_model
    d_ff: int = 3072  # width of the feed-forward layer
    vocab_size: int = 30522  # entries of the vocabulary
    max_seq_len: int = 512  # longest text, in tokens
    n_segments: int = 2  # texts of an input, each with its own vector; a classifier reads one
    norm_eps: float = 1e-12  # added to the variance before its root
    dropout: float = 0.1  # share of activations that training drops
    num_classes: int = 2  # classes; each text has one


class Model(PooledEncoder):
    """The text classifier."""

    def __init__(self, config: Config) -> None:
        super().__init__(config, config.num_classes)
        init_weights(self, config.d_model)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits (B, C) of texts (B, T), token 0 after the end of each."""
        return self.outputs(tokens)

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json, with which transformers loads it as BERT."""
        return {
            "architectures": ["BertForSequenceClassification"],
            **bert_config(self.config),
        }
