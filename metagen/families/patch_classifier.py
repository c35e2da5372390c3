"""The patch Transformer that labels series, PatchTST (Nie et al., 2023, arXiv:2211.14730)."""

from __future__ import annotations

from metagen.families import parts
from metagen.families.family import Dims
from metagen.families.parts import Part
from metagen.families.patch_transformer import PatchTransformer
from metagen.tasks.time_series_classification import TimeSeriesClassification


class PatchClassifier(PatchTransformer):
    """A patch Transformer with a linear layer on the mean patch of each channel."""

    name = "patch_classifier"
    kind = "patch Transformer for time series classification"
    task = TimeSeriesClassification()
    components = f"{PatchTransformer.components} pooling mean_pooling classifier"
    # The bundled series need patches of their own, whatever the full model's are.
    proxy_dims = {**PatchTransformer.proxy_dims, "patch_len": 16, "stride": 8}

    def head(self, m: Dims) -> Part:
        return parts.linear(m["n_channels"] * m["d_model"], m["num_classes"])

    def series(self, m: Dims) -> int:
        return int(m["n_channels"])


FAMILY = PatchClassifier()
