"""A sentence embedder in the Sentence-BERT form (Reimers & Gurevych, 2019, arXiv:1908.10084).

A bidirectional encoder in the BERT form (Devlin et al., 2019, arXiv:1810.04805) reads the text; the
mean of its tokens' vectors is the vector of the text. Texts of like meaning have a high cosine.

Shapes in comments: B texts, T tokens.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from layers.encoder import PAD, Encoder, bert_config, bert_name, init_weights


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    d_model: int = 768  # width of the residual stream, and dimensions of an embedding
    n_layers: int = 12  # number of blocks
    n_heads: int = 12  # heads in each layer; they divide d_model
    d_ff: int = 3072  # width of the feed-forward layer
    vocab_size: int = 30522  # entries of the vocabulary
    max_seq_len: int = 512  # longest text, in tokens
    n_segments: int = 2  # texts of an input, each with its own vector; an embedder reads one
    norm_eps: float = 1e-12  # added to the variance before its root
    dropout: float = 0.1  # share of activations that training drops


class Model(Encoder):
    """The sentence embedder."""

    spare = ("pooler.",)  # what transformers' BertModel has besides; embeddings do not use it

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config = config
        init_weights(self, config.d_model)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return embeddings (B, d_model) of texts (B, T), token 0 after the end of each."""
        vectors: Tensor = self.encode(tokens)  # (B, T, d_model)
        weights = (tokens != PAD).unsqueeze(-1).to(vectors.dtype)  # (B, T, 1)
        return (vectors * weights).sum(1) / weights.sum(1)

    def num_params(self) -> int:
        """Return the number of weights."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a parameter in transformers' BertModel."""
        return bert_name(name)

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json, with which transformers loads it as BERT.

        BertModel returns the vectors of tokens; their mean is the embedding. It needs no pooler,
        and the checkpoint has none.
        """
        return {"architectures": ["BertModel"], **bert_config(self.config)}
