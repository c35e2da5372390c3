"""The ranker of passages: BERT reads query and passage together (arXiv:1901.04085)."""

from __future__ import annotations

from metagen.families.encoder import Encoder, pooled
from metagen.families.family import Dims
from metagen.families.parts import Part
from metagen.tasks.document_ranking import DocumentRanking


class DocumentRanker(Encoder):
    """An encoder of query and passage; the vector of the first token gives one score."""

    name = "document_ranker"
    kind = "Transformer cross-encoder for ranking passages"
    task = DocumentRanking()
    components = f"{Encoder.components} cross_encoder pooler scoring_head"

    def head(self, m: Dims) -> list[Part]:
        return pooled(m, outputs=1)


FAMILY = DocumentRanker()
