"""A cross-encoder that ranks passages for a query (Nogueira & Cho, 2019, arXiv:1901.04085).

A bidirectional encoder in the BERT form (Devlin et al., 2019, arXiv:1810.04805) reads query and
passage together; the vector of the first token, [CLS], passes through a pooler, and a linear layer
gives one score. Only the order of a query's scores has a meaning.

Shapes in comments: B pairs, T tokens.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from layers.encoder import bert_config, init_weights
from layers.pooled import PooledEncoder

LIKENESS = 11.0  # initial attention score of two equal tokens; of others it is 0 on average


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    d_model: int = 768  # width of the residual stream
    n_layers: int = 12  # number of blocks
    n_heads: int = 12  # heads in each layer; they divide d_model
    d_ff: int = 3072  # width of the feed-forward layer
    vocab_size: int = 30522  # entries of the vocabulary
    max_seq_len: int = 512  # longest query and passage together, in tokens
    n_segments: int = 2  # texts of an input, each with its own vector: query and passage
    norm_eps: float = 1e-12  # added to the variance before its root
    dropout: float = 0.1  # share of activations that training drops


class Model(PooledEncoder):
    """The ranker of passages."""

    def __init__(self, config: Config) -> None:
        super().__init__(config, 1)
        self._init_weights()

    def _init_weights(self) -> None:
        """Start as an encoder in which a token attends to equal tokens, at any position.

        Words that query and passage share are the first sign of relevance. Attention sees them
        from the start if keys equal queries, and if an embedding depends on the token more than on
        its position. The last layer starts as usual, so that [CLS] reads all tokens rather than
        itself.
        """
        width = self.config.d_model
        init_weights(self, width)
        nn.init.normal_(self.embeddings.tokens.weight, std=0.5)
        nn.init.normal_(self.embeddings.segments.weight, std=0.2)
        nn.init.normal_(self.embeddings.positions.weight, std=0.03)
        # Normalized x has length sqrt(width), so |W x|^2 / sqrt(head) is LIKENESS on average.
        std = math.sqrt(LIKENESS / (math.sqrt(width // self.config.n_heads) * width))
        for layer in list(self.layers)[:-1]:
            weights = dict(layer.named_parameters())
            nn.init.normal_(weights["q_proj.weight"], std=std)
            with torch.no_grad():
                weights["k_proj.weight"].copy_(weights["q_proj.weight"])

    def forward(self, tokens: Tensor, segments: Tensor) -> Tensor:
        """Return scores (B) of pairs.

        Args:
            tokens: (B, T) token ids of query and passage, 0 after the end.
            segments: (B, T) 0 for tokens of the query, 1 for those of the passage.
        """
        return self.outputs(tokens, segments).squeeze(1)

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json, with which transformers loads it as BERT."""
        return {
            "architectures": ["BertForSequenceClassification"],
            "id2label": {"0": "relevance"},
            "label2id": {"relevance": 0},
            # CrossEncoder of sentence-transformers would map a score to a probability.
            "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"},
            **bert_config(self.config),
        }
