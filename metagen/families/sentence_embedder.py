"""The sentence embedder: BERT's encoder and the mean of its vectors (arXiv:1908.10084)."""

from __future__ import annotations

from metagen.families.encoder import Encoder
from metagen.families.family import Dims
from metagen.tasks.sentence_embedding import SentenceEmbedding


class SentenceEmbedder(Encoder):
    """An encoder; the mean of its vectors, which has no parameters, is the text's vector."""

    name = "sentence_embedder"
    kind = "bidirectional Transformer encoder for sentence embeddings"
    task = SentenceEmbedding()
    components = f"{Encoder.components} pooling mean_pooling"
    # The mean of vectors has as many dimensions as each of them.
    fixed_by = {"d_model": "task.embedding_dim"}

    def training_length(self, m: Dims) -> int:
        """Return the tokens of a training pair: twice the longest text."""
        return int(2 * m["max_seq_len"])


FAMILY = SentenceEmbedder()
