"""A config.json of transformers, in the words of a spec, with what our block does not have."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metagen import families
from metagen.errors import Problem, SpecError
from metagen.families.family import Value
from metagen.families.model_types import BESIDE, NAMES, TYPES, Known
from metagen.files import read_plain

MOST_BYTES = 2**20


def ours(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return what a family with some dimensions calls a name of a config.json; () for nothing."""
    dims = set(known)
    return tuple(each for each in NAMES.get(name, ()) if each in dims)


# Dimensions without which a config states no shape.
_SHAPES = ("d_model", "n_layers", "n_heads", "d_ff", "vocab_size", "depth_1", "depth_4")


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
    config = _alone(_parsed(path))
    kind = config.get("model_type")
    known = TYPES.get(kind) if isinstance(kind, str) else None
    if known is None:
        sentence = f"no family has the shape of model_type {json.dumps(kind)[:60]}"
        raise SpecError(
            Problem(sentence, str(path), f"model types that are read: {_listed(TYPES)}")
        )
    return _drafted(config, known, str(kind), path)


def _alone(config: dict[str, Any]) -> dict[str, Any]:
    """Return the language model of a Gemma 3 that also reads images; its images have no place."""
    text = config.get("text_config")
    if config.get("model_type") != "gemma3" or not isinstance(text, dict):
        return config
    images = {name: config[name] for name in ("vision_config",) if name in config}
    return {**text, "model_type": "gemma3_text", **images}


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
    values = _values(config, known)
    model = families.named(known.family)
    dims: dict[str, Value] = {}
    keys: dict[str, Any] = {}
    lacks = [f"{kind} models have {each}" for each in known.lacks]
    for name, value in values.items():
        ours_ = ours(name, model.dims) or ((name,) if name in model.dims else ())
        if name in known.same and not (name == "sliding_window" and "global_every" in values):
            lacks += _odd(name, value, known)
        elif name in known.keys:
            keys[known.keys[name]] = _number(name, value, path)
        elif ours_ and "dropout" in name and value == 0:
            lacks.append(f"{name}: {value} is left out; a spec pins numbers above 0")
        elif ours_:
            dims |= dict.fromkeys(ours_, _number(name, value, path))
        elif name not in BESIDE:
            lacks.append(
                f"{name}: {json.dumps(value)[:80]} has no place in the {model.name} family"
            )
    _check_whole(dims, model.dims, path)
    if known.family == "decoder":
        head = int(dims["d_model"] // dims["n_heads"])
        dims = {"head_dim": head, "global_every": 1, **dims}
    return Draft(kind, known.family, dims, keys, lacks)


def _values(config: dict[str, Any], known: Known) -> dict[str, Any]:
    """Return the entries of a config under one name each, with the defaults of its class."""
    towers = config if known.family == "decoder" else _towers(config)
    stated = _dropped(_patterned(_stages(_rope(towers))))
    stated |= {n: v for n, v in _labels(config).items() if n in known.keys}
    given = {n: v for n, v in stated.items() if v is not None or None in known.same.get(n, ())}
    values = {**known.defaults, **given}
    if stated.get("sliding_window", 0) is None:
        values = {n: v for n, v in values.items() if n != "sliding_window"}
    if "sliding_window" not in values:
        values = {n: v for n, v in values.items() if n != "global_every"}
    values = {
        n: values.get(v) if isinstance(v, str) and v in NAMES else v for n, v in values.items()
    }
    return _without_equals(values)


# Entries that say nothing where they are equal to another one.
_EQUALS = {"query_pre_attn_scalar": "head_dim", "rope_local_base_freq": "rope_theta"}


def _without_equals(values: dict[str, Any]) -> dict[str, Any]:
    equal = {name for name, same in _EQUALS.items() if values.get(name, ()) == values.get(same)}
    return {name: value for name, value in values.items() if name not in equal}


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
    flat = {name: value for name, value in config.items() if name != "rope_parameters"}
    whole, local = nested.get("full_attention"), nested.get("sliding_attention")
    if isinstance(whole, dict) and isinstance(local, dict):
        nested, flat = whole, {**flat, "rope_local_base_freq": local.get("rope_theta")}
    rest = {
        n: v for n, v in nested.items() if n != "rope_theta" and (n, v) != ("rope_type", "default")
    }
    scaling = {"rope_scaling": rest} if rest else {}
    return {**flat, "rope_theta": nested.get("rope_theta"), **scaling}


_LAYERS = {"full_attention", "sliding_attention"}


def _patterned(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config with the distance between layers of full attention as one number.

    A list of layers with another pattern stays, and has no place in the family.
    """
    names = ("layer_types", "sliding_window_pattern", "_sliding_window_pattern")
    every = next((config[name] for name in names[1:] if name in config), None)
    layers = config.get("layer_types")
    rest = {name: value for name, value in config.items() if name not in names}
    if isinstance(layers, list) and layers:
        full = [n for n, each in enumerate(layers, start=1) if each == "full_attention"]
        every = full[0] if full else len(layers) + 1
        if full != list(range(every, len(layers) + 1, every)) or not _LAYERS.issuperset(layers):
            return {**rest, "layer_types": layers}
    if every in (None, 1):
        return rest
    # The pattern says itself that there are windows.
    rest = {name: value for name, value in rest.items() if name != "use_sliding_window"}
    return {**rest, "global_every": every}


def _dropped(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config of PatchTST with one name for its equal shares of dropout in a block."""
    if config.get("path_dropout", ()) != config.get("ff_dropout", 0.0):
        return config
    return {name: value for name, value in config.items() if name != "path_dropout"}


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
