"""The Vision Transformer that embeds images: its class vector, projected (arXiv:2010.11929)."""

from __future__ import annotations

from metagen.families import parts
from metagen.families.family import Dims
from metagen.families.parts import Part
from metagen.families.vit import ViT
from metagen.tasks.image_embedding import ImageEmbedding


class ViTEmbedder(ViT):
    """A Vision Transformer whose class vector is projected to the vector of the image."""

    name = "vit_embedder"
    table = "vit"
    kind = "Vision Transformer for image embeddings"
    task = ImageEmbedding()
    components = (
        "transformer_encoder encoder vision_transformer vit patch_embedding class_token "
        "position_embedding projection projection_head"
    )
    # Glyphs have finer strokes than digits, and so smaller patches than those.
    proxy_dims = {**ViT.proxy_dims, "image_height": 32, "image_width": 32}

    def head(self, m: Dims) -> Part:
        return parts.linear(m["d_model"], m["embed_dim"])


FAMILY = ViTEmbedder()
