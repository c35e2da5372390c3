"""Weights in a folder, as train.py or transformers saves them, and their way into a network."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from runtime.digests import digest
from runtime.errors import fail
from runtime.notes import note
from runtime.settings import read_json

FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
FORMATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
"""Formats of weights that are converted to the network's own; quantized ones are refused."""
DERIVED = re.compile(r".*(position_ids|inv_freq)")
"""Tensors of older versions of transformers, which follow from the config."""
UNLIKE = ("architectures", "id2label", "label2id")
"""Entries of config.json that say nothing about what the tensors mean."""


def weight_files(folder: Path) -> list[Path]:
    """Return the files with the weights of a folder, or stop if it has none."""
    if (folder / FILE).is_file():
        return [folder / FILE]
    if (folder / INDEX).is_file():
        return _parts(folder)
    if (folder / "adapter_model.safetensors").is_file():
        fail(
            f"{folder} has an adapter without its model: save the whole model with peft's "
            "merge_and_unload() and save_pretrained()."
        )
    if any(folder.glob("pytorch_model*.bin")):
        fail(
            f"{folder} has its weights in a pickle, which could run any code: save them again with "
            "transformers' save_pretrained(), which writes model.safetensors."
        )
    fail(
        f"{folder} has no checkpoint, which is a folder with {FILE}: run train.py first, or name "
        "the folder of one."
    )


def _parts(folder: Path) -> list[Path]:
    """Return the files that an index names, or stop if one is missing."""
    table = read_json(folder / INDEX).get("weight_map")
    names = set(table.values()) if isinstance(table, dict) and _texts(table) else set()
    paths = [folder / name for name in sorted(names)]
    if not paths or any(path.name != name for path, name in zip(paths, sorted(names), strict=True)):
        fail(f"{folder / INDEX} must map each tensor's name to a file in the same folder.")
    for path in paths:
        if not path.is_file():
            fail(f"{path} does not exist, but {INDEX} names it.")
    return paths


def _texts(table: Mapping[Any, Any]) -> bool:
    return all(isinstance(value, str) for value in table.values())


def weights_digest(folder: Path) -> str:
    """Return the sha256 of a folder's weights: of its file, or of the digests of several files."""
    digests = []
    for path in weight_files(folder):
        with path.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").digest())
    return digests[0].hex() if len(digests) == 1 else digest(*digests)


Signature = tuple[tuple[int, int, int, int], ...]


def signature(folder: Path) -> Signature:
    """Return what tells whether a folder's weights were written since: no file is read for it."""
    states = (path.stat() for path in weight_files(folder))
    return tuple((s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns) for s in states)


def load_weights(model: nn.Module, folder: Path) -> None:
    """Load the tensors of a folder into a model, which may be on `meta`; or stop.

    The model names its tensors in a file with `checkpoint_name`, and with `spare` the beginnings of
    names that transformers adds and it does not use. Shapes () and (1,) are equal here: FSDP gives
    a single number a dimension.
    """
    tensors = _read(folder)
    name_of: Callable[[str], str] = model.checkpoint_name  # type: ignore[assignment]
    own = {name_of(name): tensor for name, tensor in model.state_dict().items()}
    _check_names(folder, tensors, own, getattr(model, "spare", ()))
    _check_shapes(folder, tensors, own)
    _check_formats(folder, tensors, own)
    state = {
        name: tensors[name_of(name)].reshape(tensor.shape).to(tensor.dtype)
        for name, tensor in model.state_dict().items()
    }
    model.load_state_dict(state, assign=next(model.parameters()).is_meta)


def _read(folder: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for path in weight_files(folder):
        try:
            tensors |= load_file(path)
        except (OSError, SafetensorError) as error:
            fail(f"{path} cannot be read: {error}.")
    return tensors


def _check_names(
    folder: Path, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], spare: tuple[str, ...]
) -> None:
    """Stop if a tensor is missing, or if there is one more that the network would need to use."""
    missing = [name for name in own if name not in tensors]
    extra = [name for name in tensors if name not in own and not DERIVED.fullmatch(name)]
    for names, verb in ((missing, "lacks"), ([n for n in extra if not n.startswith(spare)], "has")):
        # A tensor that is saved twice, once for each of its uses, is known under one name.
        names = [n for n in names if n in own or not _repeats(tensors[n], tensors, own)]
        if names:
            fail(
                f"{folder} {verb} the tensor {names[0]}{_more(names)}, unlike this model: use the "
                "model.py and the settings that it was made with."
            )
    unused = [name for name in extra if name.startswith(spare)]
    if unused:
        note(f"{folder} has the tensor {unused[0]}{_more(unused)}, which this model does not use.")


def _repeats(tensor: Tensor, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    """Return whether a tensor is equal to one that the network has."""
    known = (tensors[name] for name in own if name in tensors)
    return any(each.shape == tensor.shape and torch.equal(each, tensor) for each in known)


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _check_shapes(folder: Path, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    for name, tensor in own.items():
        saved, here = tensors[name].shape, tensor.shape
        if _squeezed(saved) != _squeezed(here):
            fail(
                f"{folder} has {name} in the shape {list(saved)}, and this model in {list(here)}: "
                "use the --size, the vocabulary and the classes that it was made with."
            )


def _squeezed(shape: torch.Size) -> tuple[int, ...]:
    return () if shape == (1,) else tuple(shape)


def _check_formats(folder: Path, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Stop at a format that is not converted; say which ones are."""
    pairs = {name: (tensors[name].dtype, own[name].dtype) for name in own}
    others = {name: kinds for name, kinds in pairs.items() if kinds[0] != kinds[1]}
    for name, (saved, here) in others.items():
        if saved not in FORMATS or here not in FORMATS:
            fail(
                f"{folder} has {name} as {_format(saved)}, and this model as {_format(here)}: save "
                "the weights in float32 or bfloat16."
            )
    for saved, here in sorted(set(others.values()), key=str):
        note(f"{folder} has weights in {_format(saved)}; they are converted to {_format(here)}.")


def _format(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def check_same(folder: Path, saved: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Stop unless a checkpoint was made with the settings of this run."""
    for name, value in current.items():
        if saved.get(name) != value:
            fail(
                f"{folder} was made with {name} = {saved.get(name)}, but this run has {value}: "
                "use the --size and the options of that run."
            )


def check_network(folder: Path, model: Any) -> None:
    """Stop unless a folder's config.json describes a network.

    It has the settings by our names. transformers keeps these when it saves a checkpoint of
    train.py, but for those that it also reads, such as `rope_theta`; in a config of its own it has
    none of them. What is missing must follow from `checkpoint_config`, by transformers' names.
    """
    saved, own = read_json(folder / "config.json"), asdict(model.config)
    check_same(folder, saved, {name: value for name, value in own.items() if name in saved})
    if missing := [name for name in own if name not in saved]:
        theirs = model.checkpoint_config()
        if not {"model_type"} <= theirs.keys() & saved.keys():
            fail(f"{folder / 'config.json'} has no {missing[0]}: it describes another network.")
        # An older transformers has the settings of RoPE at the top, and its scaling apart.
        old = saved.get("rope_scaling")
        check_same(folder, *_compared(saved | (old if isinstance(old, dict) else {}), theirs))


def _compared(
    saved: Mapping[str, Any], theirs: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return transformers' entries of a config.json and of this network, by their full names."""
    pairs = list(_pairs(saved, theirs, ""))
    return {name: one for name, one, _ in pairs}, {name: other for name, _, other in pairs}


def _pairs(
    saved: Mapping[str, Any], theirs: Mapping[str, Any], above: str
) -> Iterator[tuple[str, Any, Any]]:
    for name, value in theirs.items():
        inner = saved.get(name)
        if isinstance(value, dict) and name not in UNLIKE:
            part = inner if isinstance(inner, dict) else {k: saved[k] for k in value if k in saved}
            default = {k: v for k, v in value.items() if k == "rope_type"}
            yield from _pairs(default | dict(part), value, f"{above}{name}.")
        elif name not in UNLIKE:
            yield f"{above}{name}", inner, value


def outline(build: Callable[[], Any]) -> Any:
    """Return a network on `meta`, which takes no memory, or stop if its sizes do not fit."""
    try:
        with torch.device("meta"):
            return build()
    except AssertionError as error:
        # A model asserts in words what its sizes must share; other assertions are bugs.
        if not str(error):
            raise
        fail(f"this model cannot be built: {error}; correct the sizes of config.json or model.py.")


def load_model(build: Callable[[], Any], folder: Path) -> Any:
    """Return the network of a checkpoint in evaluation mode, or stop if it belongs to another one.

    Args:
        build: Makes the network.
        folder: What `find_checkpoint` returned.
    """
    # On `meta` the weights are not drawn only to be replaced.
    model = outline(build)
    check_network(folder, model)
    load_weights(model, folder)
    return model.eval()
