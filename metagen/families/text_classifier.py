"""The text classifier: BERT's encoder with a pooler and a linear layer (arXiv:1810.04805)."""

from __future__ import annotations

from metagen.families.encoder import Encoder, pooled
from metagen.families.family import Dims
from metagen.families.parts import Part
from metagen.tasks.text_classification import TextClassification


class TextClassifier(Encoder):
    """An encoder; the vector of a text's first token gives a logit for each class."""

    name = "text_classifier"
    kind = "bidirectional Transformer encoder for text classification"
    task = TextClassification()
    components = f"{Encoder.components} pooler classifier classification_head"

    def head(self, m: Dims) -> list[Part]:
        return pooled(m, m["num_classes"])


FAMILY = TextClassifier()
