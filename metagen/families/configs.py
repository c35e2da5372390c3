"""The names of a transformers config.json, and what a family calls the same thing.

Names are those of the configuration classes of transformers 5 (huggingface.co/docs/transformers):
LlamaConfig, MistralConfig, Qwen2Config, GPT2Config, BertConfig, ViTConfig, CLIPConfig and
PatchTSTConfig. A family has at most a few of the names on the right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

NAMES: Mapping[str, tuple[str, ...]] = {
    "hidden_size": ("d_model", "vision_d_model", "text_d_model"),
    "n_embd": ("d_model",),
    "hidden_dim": ("d_ff",),
    "intermediate_size": ("d_ff", "vision_d_ff", "text_d_ff"),
    "ffn_dim": ("d_ff",),
    "n_inner": ("d_ff",),
    "num_hidden_layers": ("n_layers", "vision_n_layers", "text_n_layers"),
    "num_layers": ("n_layers", "vision_n_layers", "text_n_layers"),
    "n_layer": ("n_layers",),
    "num_attention_heads": ("n_heads", "vision_n_heads", "text_n_heads"),
    "num_heads": ("n_heads", "vision_n_heads", "text_n_heads"),
    "n_head": ("n_heads",),
    "num_key_value_heads": ("n_kv_heads",),
    "max_position_embeddings": ("max_seq_len",),
    "n_positions": ("max_seq_len",),
    "n_ctx": ("max_seq_len",),
    "type_vocab_size": ("n_segments",),
    "sliding_window": ("window",),
    "tie_word_embeddings": ("tie_embeddings",),
    "rms_norm_eps": ("norm_eps",),
    "layer_norm_eps": ("norm_eps",),
    "layer_norm_epsilon": ("norm_eps",),
    "hidden_dropout_prob": ("dropout",),
    "projection_dim": ("embed_dim",),
    "num_labels": ("num_classes",),
    "image_size": ("image_height", "image_width"),
    "num_channels": ("in_channels", "image_channels"),
    "context_length": ("lookback",),
    "prediction_length": ("horizon",),
    "patch_length": ("patch_len",),
    "patch_stride": ("stride",),
    "embedding_size": ("width",),
    "depths": ("depth_1", "depth_2", "depth_3", "depth_4"),
}


def ours(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return what a family with some dimensions calls a name of a config.json; () for nothing."""
    dims = set(known)
    return tuple(each for each in NAMES.get(name, ()) if each in dims)
