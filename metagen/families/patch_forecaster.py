"""The patch Transformer for forecasts, PatchTST (Nie et al., 2023, arXiv:2211.14730)."""

from __future__ import annotations

from metagen.families import parts
from metagen.families.family import Dims
from metagen.families.parts import Part
from metagen.families.patch_transformer import PatchTransformer, patches
from metagen.tasks.forecasting import Forecasting


class PatchForecaster(PatchTransformer):
    """A patch Transformer with one linear layer on all patches of a series."""

    name = "patch_forecaster"
    kind = "patch Transformer for time series forecasting"
    task = Forecasting()
    components = f"{PatchTransformer.components} forecast_head"

    def head(self, m: Dims) -> Part:
        return parts.linear(patches(m) * m["d_model"], m["horizon"])


FAMILY = PatchForecaster()
