"""The designs of a family: the full model, the proxy, and the proxy with what a user may pin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from helpers.made import Made
from metagen.families.family import Dims

# Changes of the proxy that a user may pin and no search makes, for families whose layers come and
# go with a dimension or whose sides need not be even.
ODD: dict[str, tuple[Dims, ...]] = {
    "text_classifier": ({"vocab_size": 1000, "max_seq_len": 7, "n_segments": 1},),
    "text_regressor": ({"vocab_size": 1000, "max_seq_len": 7, "n_segments": 1},),
    "sentence_embedder": ({"vocab_size": 1000, "max_seq_len": 7, "n_segments": 1},),
    "document_ranker": ({"vocab_size": 1000, "max_seq_len": 7, "n_segments": 1},),
    "vit": ({"image_height": 12, "image_width": 18, "patch_size": 6, "num_channels": 3},),
    "vit_regressor": ({"image_height": 12, "image_width": 18, "patch_size": 6},),
    "resnet": ({"image_height": 45, "image_width": 70, "num_channels": 3, "depth_3": 3},),
    "segmentation_unet": ({"n_levels": 2, "max_channels": 8}, {"in_channels": 3}),
    "unet_diffusion": (
        {"n_levels": 3, "attention_level": 0, "max_multiplier": 4, "blocks_per_level": 2},
        {"image_channels": 3, "num_classes": 7, "image_height": 16},
    ),
    "latent_unet": (
        {"n_levels": 3, "upper_layers": 2, "lowest_layers": 3},
        {"image_channels": 3, "patch_size": 1, "text_layers": 3, "text_length": 20},
    ),
    "clip": ({"patch_size": 8, "embed_dim": 5}, {"in_channels": 1, "text_n_layers": 1}),
    "autoencoder": ({"n_layers": 1}, {"n_layers": 4}, {"window": 1}),
    "tabular_regressor": ({"n_frequencies": 1, "n_categorical": 0, "n_layers": 1},),
    "tabular_classifier": ({"n_outputs": 4, "n_frequencies": 1, "n_categorical": 0},),
    "video_dit": (
        {"factorized": True, "n_layers": 3, "num_frames": 8, "image_channels": 3},
        {"patch_frames": 1, "given_frames": 3, "patch_size": 6, "image_width": 36},
    ),
    "talking_head_dit": (
        {"factorized": True, "n_layers": 3, "num_frames": 8, "image_channels": 1},
        {"patch_frames": 1, "given_frames": 3, "patch_size": 6, "audio_reach": 0},
        {"text_layers": 2, "text_length": 7, "sample_rate": 1600, "image_width": 36},
    ),
    "yolox": (
        {"width": 5, "depth": 2, "head_channels": 7, "num_channels": 3, "image_height": 64},
        {"depthwise": True, "num_classes": 3},
    ),
    "point_diffusion": ({"n_points": 7, "text_length": 5, "text_layers": 2, "n_layers": 1},),
    "gat": (
        {"edge_features": 0, "dynamic": False, "d_model": 6, "n_heads": 3, "n_layers": 1},
        {"dynamic": False, "sum_readout": False, "num_nodes": 5, "num_edges": 40},
    ),
    "rt_detr": (
        {"image_height": 45, "image_width": 70, "num_channels": 3, "depth_3": 3},
        {"bottleneck": True, "d_fusion": 20, "fusion_blocks": 2, "num_denoising": 0},
    ),
    "patch_classifier": ({"n_channels": 2, "lookback": 29, "patch_len": 7, "stride": 5},),
    "musicgen": (
        dict.fromkeys(("text_length", "text_width", "text_layers", "text_heads"), 0),
        {"n_kv_heads": 1, "n_codebooks": 2, "stride_2": 3, "codec_lstm_layers": 2},
    ),
    "two_tower": (
        {"ordered": True, "edge_features": 5, "d_model": 6, "n_heads": 3, "d_tower": 7},
        {"user_layers": 0, "node_features": 0, "history_length": 7},
    ),
    "panoptic_fpn": (
        {"image_height": 90, "image_width": 70, "num_channels": 3, "num_stuff": 1},
        {"semantic_channels": 7, "depth_3": 3, "frozen_norm": True},
    ),
}


def designs(made: Made) -> Iterator[dict[str, Any]]:
    """Yield the full model, the proxy, and the proxy with what a user may pin."""
    proxy = made.dims("proxy")
    yield from (made.dims("full"), proxy)
    yield from ({**proxy, **changed} for changed in ODD.get(made.family.name, ()))
