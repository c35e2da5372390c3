"""A config.json of transformers, in the words of a spec: names, model types, what we lack.

Names are those of the configuration classes of transformers 5 (huggingface.co/docs/transformers):
LlamaConfig, MistralConfig, Qwen2Config, GPT2Config, BertConfig, ViTConfig, CLIPConfig and
PatchTSTConfig. A family has at most a few of the names on the right.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from metagen import families
from metagen.errors import Problem, SpecError
from metagen.families.family import Value
from metagen.files import read_plain

MOST_BYTES = 2**20
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
TYPES: Mapping[str, Known] = {
    "llama": _LLAMA, "mistral": _LLAMA, "qwen2": _QWEN, "bert": _BERT, "vit": _VIT,
    "resnet": _RESNET, "clip": _CLIP,
}  # fmt: skip
# Dimensions without which a config states no shape.
_SHAPES = ("d_model", "n_layers", "n_heads", "d_ff", "vocab_size", "depth_1", "depth_4")
# Entries that state neither a shape nor a computation of the block.
_BESIDE = frozenset(
    ("model_type", "architectures", "transformers_version", "torch_dtype", "dtype", "use_cache",
     "initializer_range", "_name_or_path", "bos_token_id", "eos_token_id", "pad_token_id",
     "id2label", "label2id", "problem_type", "classifier_dropout", "gradient_checkpointing",
     "unsloth_version", "auto_map")
)  # fmt: skip


@dataclass(frozen=True)
class Draft:
    """What a config.json states of a model, in the words of a spec.

    Attributes:
        name: Its name.
        family: The family that has its shape.
        dims: Dimensions to pin.
        keys: Other keys of the spec.
        lacks: What the config states and our block does not have, a sentence each.
    """

    name: str
    family: str
    dims: dict[str, Value]
    keys: dict[str, Any]
    lacks: list[str] = field(default_factory=list)


def read(path: Path) -> Draft:
    """Read a config.json of transformers.

    Raises:
        SpecError: It is no such file, or of a model type whose shape no family has.
    """
    config = _parsed(path)
    kind = config.get("model_type")
    known = TYPES.get(kind) if isinstance(kind, str) else None
    if known is None:
        sentence = f"no family has the shape of model_type {json.dumps(kind)[:60]}"
        raise SpecError(
            Problem(sentence, str(path), f"model types that are read: {_listed(TYPES)}")
        )
    return _drafted(config, known, str(kind), path)


def _parsed(path: Path) -> dict[str, Any]:
    hint = "give the config.json of a model in the Hugging Face format"
    try:
        config = json.loads(read_plain(path, MOST_BYTES))
    except OSError as error:
        reason = error.strerror or str(error)
        raise SpecError(Problem(f"the config cannot be read: {reason}", str(path), hint)) from None
    except (ValueError, RecursionError):
        raise SpecError(Problem("this is not JSON", str(path), hint)) from None
    if not isinstance(config, dict):
        raise SpecError(Problem("this JSON is not a mapping of names", str(path), hint))
    return config


def _drafted(config: dict[str, Any], known: Known, kind: str, path: Path) -> Draft:
    stated = _towers(_stages(_rope(config)))
    stated |= {n: v for n, v in _labels(config).items() if n in known.keys}
    values = {**known.defaults, **{name: v for name, v in stated.items() if v is not None}}
    values = {
        n: values.get(v) if isinstance(v, str) and v in NAMES else v for n, v in values.items()
    }
    model = families.named(known.family)
    dims: dict[str, Value] = {}
    keys: dict[str, Any] = {}
    lacks = [f"{kind} models have {each}" for each in known.lacks]
    for name, value in values.items():
        ours_ = ours(name, model.dims) or ((name,) if name in model.dims else ())
        if name in known.same:
            lacks += _odd(name, value, known)
        elif name in known.keys:
            keys[known.keys[name]] = _number(name, value, path)
        elif ours_:
            dims |= dict.fromkeys(ours_, _number(name, value, path))
        elif name not in _BESIDE:
            lacks.append(
                f"{name}: {json.dumps(value)[:80]} has no place in the {model.name} family"
            )
    _check_whole(dims, model.dims, path)
    if known.family == "decoder":
        head = int(dims["d_model"] // dims["n_heads"])
        dims = {"head_dim": head, **dims, "global_every": 1}
    return Draft(kind, known.family, dims, keys, lacks)


def _odd(name: str, value: Any, known: Known) -> Iterator[str]:
    if known.same[name] and value not in known.same[name]:
        has = json.dumps(known.same[name][0])
        yield f"{name}: {json.dumps(value)[:80]} is left out; our block has {name}: {has}"


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config with the base of its rotary embedding where older files have it."""
    if config.get("use_sliding_window") is False:
        config = {name: value for name, value in config.items() if name != "sliding_window"}
    nested = config.get("rope_parameters")
    if not isinstance(nested, dict):
        return config
    rest = {
        n: v for n, v in nested.items() if n != "rope_theta" and (n, v) != ("rope_type", "default")
    }
    flat = {name: value for name, value in config.items() if name != "rope_parameters"}
    scaling = {"rope_scaling": rest} if rest else {}
    return {**flat, "rope_theta": nested.get("rope_theta"), **scaling}


def _stages(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config with the depth of each stage by a name of its own."""
    depths, widths = config.get("depths"), config.get("hidden_sizes")
    if not (isinstance(depths, list) and len(depths) == 4):
        return config
    flat = {n: v for n, v in config.items() if n not in ("depths", "hidden_sizes")}
    first = config.get("embedding_size", 64)
    usual = [first * 4 * 2**stage for stage in range(4)] if isinstance(first, int) else []
    odd = {} if widths in (None, usual) else {"hidden_sizes": widths}
    return {**flat, **odd, **{f"depth_{n}": depth for n, depth in enumerate(depths, start=1)}}


def _towers(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config whose towers' entries have the names of our dimensions."""
    flat = {n: v for n, v in config.items() if n not in ("text_config", "vision_config")}
    for tower in ("text", "vision"):
        nested = config.get(f"{tower}_config")
        entries: dict[str, Any] = nested if isinstance(nested, dict) else {}
        for name, value in entries.items():
            ends = [each for each in NAMES.get(name, ()) if each.startswith(f"{tower}_")]
            once = {"max_position_embeddings": "max_seq_len", "num_channels": "in_channels",
                    "layer_norm_eps": "norm_eps"}  # fmt: skip
            flat.setdefault(ends[0] if ends else once.get(name, name), value)
    return flat


def _labels(config: dict[str, Any]) -> dict[str, Any]:
    labels = config.get("id2label")
    return {"num_labels": len(labels)} if isinstance(labels, dict) and labels else {}


def _number(name: str, value: Any, path: Path) -> Value:
    good = isinstance(value, bool) or (isinstance(value, int | float) and 0 < value < 1e15)
    if not good:
        sentence = f"{name} is {json.dumps(value)[:60]}; a number above 0 is read"
        raise SpecError(Problem(sentence, str(path), "correct the config.json, or leave it out"))
    return value  # type: ignore[no-any-return]


def _check_whole(dims: Mapping[str, Value], family: Iterable[str], path: Path) -> None:
    missing = [name for name in _SHAPES if name in family and name not in dims]
    if missing:
        theirs = [name for name, mine in NAMES.items() if set(mine) & {*missing}] or missing
        sentence = f"the config states no {missing[0]}: it has none of {_listed(theirs)}"
        raise SpecError(Problem(sentence, str(path), "give the config.json of a whole model"))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
