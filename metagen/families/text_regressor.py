"""The text regressor: BERT's encoder with a pooler and a linear layer (arXiv:1810.04805)."""

from __future__ import annotations

from metagen.families.encoder import Encoder, pooled
from metagen.families.family import Dims
from metagen.families.parts import Part
from metagen.tasks.text_regression import TextRegression


class TextRegressor(Encoder):
    """An encoder; the vector of a text's first token gives one number."""

    name = "text_regressor"
    kind = "bidirectional Transformer encoder for text regression"
    task = TextRegression()
    components = f"{Encoder.components} pooler regressor regression_head"

    def head(self, m: Dims) -> list[Part]:
        return pooled(m, outputs=1)


FAMILY = TextRegressor()
