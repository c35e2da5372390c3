"""Model types of transformers: the family that has the shape of each, and what each has besides.

Names and defaults are those of the configuration classes of transformers 5.24
(huggingface.co/docs/transformers): LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config,
GemmaConfig, Gemma2Config, Gemma3TextConfig, GPT2Config, BertConfig, ViTConfig, ResNetConfig,
CLIPConfig and PatchTSTConfig. A family has at most a few of the names on the right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

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
    "ff_dropout": ("dropout",),
    "depths": ("depth_1", "depth_2", "depth_3", "depth_4"),
}


class Known(NamedTuple):
    """What a model type of transformers leads to.

    Attributes:
        family: The family that has its shape.
        keys: Names that a key of the spec states rather than a dimension.
        defaults: The values of its configuration class for what a config.json leaves out; a name
            as a value stands for that of another entry.
        same: Entries that say what our block has too, with the values that say so.
        lacks: What each such model has and our block does not.
    """

    family: str
    keys: Mapping[str, str]
    defaults: Mapping[str, Any]
    same: Mapping[str, tuple[Any, ...]]
    lacks: tuple[str, ...] = ()


_WINDOW = {"max_position_embeddings": "constraints.context_window"}
_LLAMA = Known(
    "decoder",
    _WINDOW,
    {
        "num_key_value_heads": "num_attention_heads",
        "tie_word_embeddings": False,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    },
    {
        "hidden_act": ("silu",),
        "attention_bias": (False,),
        "mlp_bias": (False,),
        "attention_dropout": (0.0, 0),
        "rope_scaling": (None,),
        "sliding_window": (None,),
        "use_sliding_window": (False,),
        "pretraining_tp": (1,),
        "rope_interleaved": (False,),
        "max_window_layers": (),
    },
)
_QWEN = _LLAMA._replace(lacks=("biases of queries, keys and values",))
_QK_NORM = "a norm of the queries and keys of each head"
_QWEN3 = _LLAMA._replace(
    defaults={**_LLAMA.defaults, "num_key_value_heads": 32, "head_dim": 128}, lacks=(_QK_NORM,)
)
_GEMMA = Known(
    "decoder",
    _WINDOW,
    {
        **{"hidden_size": 3072, "intermediate_size": 24576, "num_hidden_layers": 28},
        **{"num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 256},
        **{"vocab_size": 256000, "max_position_embeddings": 8192, "tie_word_embeddings": True},
        **{"rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "gelu_pytorch_tanh"},
    },
    {
        "hidden_act": ("silu",),
        "hidden_activation": ("silu",),
        "attention_bias": (False,),
        "attention_dropout": (0.0, 0),
        "rope_scaling": (None,),
        "use_bidirectional_attention": (None, False),
        "cache_implementation": (),
    },
    ("token embeddings that are multiplied by the root of their width",),
)
_SANDWICH = "norms after the attention and the feed-forward layer too"
_GEMMA2 = _GEMMA._replace(
    defaults={
        **{name: value for name, value in _GEMMA.defaults.items() if name != "hidden_act"},
        **{"hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26},
        **{"num_attention_heads": 8, "num_key_value_heads": 4, "sliding_window": 4096},
        **{"hidden_activation": "gelu_pytorch_tanh", "global_every": 2},
        **{"final_logit_softcapping": 30.0, "attn_logit_softcapping": 50.0},
    },
    same={
        **_GEMMA.same, "final_logit_softcapping": (None,), "attn_logit_softcapping": (None,),
    },
    lacks=(*_GEMMA.lacks, _SANDWICH),
)  # fmt: skip
_GEMMA3 = _GEMMA2._replace(
    defaults={
        **_GEMMA2.defaults,
        **{"vocab_size": 262208, "max_position_embeddings": 131072, "rope_theta": 1e6},
        **{"rope_local_base_freq": 10000.0, "global_every": 6},
        **{"final_logit_softcapping": None, "attn_logit_softcapping": None},
    },
    lacks=(*_GEMMA2.lacks, _QK_NORM),
)
_BERT = Known(
    "text_classifier",
    {**_WINDOW, "num_labels": "task.num_classes"},
    {"type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_dropout_prob": 0.1, "num_labels": 2},
    {
        "hidden_act": ("gelu",),
        "position_embedding_type": ("absolute",),
        "attention_probs_dropout_prob": (0.1,),
        "is_decoder": (False,),
    },
)
_VIT = Known(
    "vit",
    {"image_size": "constraints.image_size", "num_labels": "task.num_classes"},
    {"image_size": 224, "patch_size": 16, "num_channels": 3, "layer_norm_eps": 1e-12,
     "num_labels": 2},
    {
        "hidden_act": ("gelu",),
        "hidden_dropout_prob": (0.0, 0),
        "attention_probs_dropout_prob": (0.0, 0),
        "qkv_bias": (True,),
        "encoder_stride": (),
    },
)  # fmt: skip
_RESNET = Known(
    "resnet",
    {"num_labels": "task.num_classes"},
    {"num_channels": 3, "embedding_size": 64, "num_labels": 2},
    {
        "hidden_act": ("relu",),
        "layer_type": ("bottleneck",),
        "downsample_in_first_stage": (False,),
        "downsample_in_bottleneck": (False,),
        "out_features": (),
        "out_indices": (),
        "stage_names": (),
    },
)
_CLIP = Known(
    "clip",
    {"image_size": "constraints.image_size"},
    {
        **{"text_d_model": 512, "text_d_ff": 2048, "text_n_layers": 12, "text_n_heads": 8},
        **{"vision_d_model": 768, "vision_d_ff": 3072, "vision_n_layers": 12},
        **{"vision_n_heads": 12, "vocab_size": 49408, "max_seq_len": 77, "projection_dim": 512},
        **{"image_size": 224, "patch_size": 32, "in_channels": 3, "norm_eps": 1e-5},
    },
    {"hidden_act": ("quick_gelu",), "attention_dropout": (0.0, 0), "dropout": (0.0, 0),
     "logit_scale_init_value": (2.6592,), "initializer_factor": (1.0,)},
)  # fmt: skip
_PATCHTST = Known(
    "patch_forecaster",
    {},
    {
        **{"context_length": 32, "prediction_length": 24, "patch_length": 1, "patch_stride": 1},
        **{"num_hidden_layers": 3, "d_model": 128, "num_attention_heads": 4, "ffn_dim": 512},
        **{"norm_eps": 1e-5, "ff_dropout": 0.0, "norm_type": "batchnorm"},
        **{"positional_encoding_type": "sincos", "pooling_type": "mean"},
    },
    {
        "norm_type": ("layernorm",),
        "positional_encoding_type": ("random",),
        "pooling_type": (None,),
        "activation_function": ("gelu",),
        "loss": ("mse",),
        "share_embedding": (True,),
        "share_projection": (True,),
        "channel_attention": (False,),
        "pre_norm": (True,),
        "bias": (True,),
        "use_cls_token": (False,),
        "scaling": ("std", True),
        "output_range": (None,),
        "do_mask_input": (None, False),
        **dict.fromkeys(("attention_dropout", "positional_dropout", "head_dropout"), (0.0, 0)),
        # Each channel passes alone, and the rest is about masks or a distribution.
        **dict.fromkeys(("num_input_channels", "num_targets", "distribution_output"), ()),
        **dict.fromkeys(("mask_type", "random_mask_ratio", "num_forecast_mask_patches"), ()),
        **dict.fromkeys(("channel_consistent_masking", "unmasked_channel_indices"), ()),
        **dict.fromkeys(("mask_value", "num_parallel_samples"), ()),
    },
)
TYPES: Mapping[str, Known] = {
    "llama": _LLAMA, "mistral": _LLAMA, "qwen2": _QWEN, "qwen3": _QWEN3, "gemma": _GEMMA,
    "gemma2": _GEMMA2, "gemma3_text": _GEMMA3, "bert": _BERT, "vit": _VIT, "resnet": _RESNET,
    "clip": _CLIP, "patchtst": _PATCHTST,
}  # fmt: skip
# Entries that state neither a shape nor a computation of the block.
BESIDE = frozenset(
    ("model_type", "architectures", "transformers_version", "torch_dtype", "dtype", "use_cache",
     "initializer_range", "_name_or_path", "bos_token_id", "eos_token_id", "pad_token_id",
     "id2label", "label2id", "problem_type", "classifier_dropout", "gradient_checkpointing",
     "unsloth_version", "auto_map", "init_std", "return_dict", "output_attentions",
     "output_hidden_states", "chunk_size_feed_forward", "is_encoder_decoder")
)  # fmt: skip
