"""The Vision Transformer that predicts a number from an image (arXiv:2010.11929)."""

from __future__ import annotations

from metagen.families import parts
from metagen.families.family import Dims
from metagen.families.parts import Part
from metagen.families.vit import ViT
from metagen.tasks.image_regression import ImageRegression


class ViTRegressor(ViT):
    """A Vision Transformer with a linear layer on the class vector that has one output."""

    name = "vit_regressor"
    table = "vit"
    kind = "Vision Transformer for image regression"
    task = ImageRegression()
    components = (
        "transformer_encoder encoder vision_transformer vit patch_embedding class_token "
        "position_embedding regressor regression_head"
    )
    # The bundled digits have 28 x 28 pixels.
    proxy_dims = {**ViT.proxy_dims, "image_height": 28, "image_width": 28, "patch_size": 7}

    def head(self, m: Dims) -> Part:
        return parts.linear(m["d_model"], 1)


FAMILY = ViTRegressor()
