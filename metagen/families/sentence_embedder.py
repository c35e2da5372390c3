"""The sentence embedder: BERT's encoder and the mean of its vectors (arXiv:1908.10084)."""

from __future__ import annotations

from metagen.families.demand import Need
from metagen.families.encoder import Encoder
from metagen.families.family import Dims, Lookup, Value
from metagen.families.trend import Trend
from metagen.tasks.sentence_embedding import SentenceEmbedding


class SentenceEmbedder(Encoder):
    """An encoder; the mean of its vectors, which has no parameters, is the text's vector."""

    name = "sentence_embedder"
    kind = "bidirectional Transformer encoder for sentence embeddings"
    task = SentenceEmbedding()
    components = f"{Encoder.components} pooling mean_pooling"

    def fixed(self, key: Lookup) -> dict[str, Value]:
        """Return the width: the mean of vectors has as many dimensions as each of them."""
        width = key("task.embedding_dim")
        return {"d_model": int(width)} if width else {}

    def training_length(self, m: Dims) -> int:
        """Return the tokens of a training pair: twice the longest text."""
        return int(2 * m["max_seq_len"])

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        width = {"d_model": "task.embedding_dim"} if "d_model" in need.fixed else {}
        return {**super().reasons(m, need, trend), **width}


FAMILY = SentenceEmbedder()
