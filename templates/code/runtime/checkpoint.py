"""Checkpoints: a folder of safetensors and JSON, replaced as a whole, read without pickle."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from runtime.errors import fail

Tensors = Mapping[str, Tensor]


def save_checkpoint(
    folder: Path, weights: Tensors, optimizer: Tensors, texts: Mapping[str, str]
) -> None:
    """Write a checkpoint beside the last one, then put it in its place.

    A kill leaves the last checkpoint or the new one: see `find_checkpoint`.

    Args:
        folder: Where it will stand.
        weights: The tensors of model.safetensors.
        optimizer: The tensors of optimizer.safetensors.
        texts: The text of every other file.
    """
    new, old = _beside(folder, "new"), _beside(folder, "old")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    for name, tensors in (("model", weights), ("optimizer", optimizer)):
        detached = {key: tensor.detach().contiguous() for key, tensor in tensors.items()}
        save_file(detached, new / f"{name}.safetensors", metadata={"format": "pt"})
    for name, text in texts.items():
        (new / name).write_text(text, encoding="utf-8")
    for path in new.iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def find_checkpoint(folder: Path) -> Path:
    """Return a folder that holds a checkpoint, or stop.

    When a kill came between the two renames of `save_checkpoint`, the last one is put back.
    """
    old = _beside(folder, "old")
    if not folder.exists() and old.is_dir():
        old.rename(folder)
    if not (folder / "model.safetensors").is_file():
        fail(f"{folder} holds no checkpoint: make one with train.py, or name one by --checkpoint.")
    return folder


def check_free(folder: Path) -> None:
    """Stop unless a checkpoint may be written to a folder: it is new, empty, or holds one."""
    if folder.exists() and not folder.is_dir():
        fail(f"{folder} is a file, not a folder for a checkpoint.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "model.safetensors").is_file():
        fail(f"{folder} holds other files, which a checkpoint would replace: name a new folder.")


def check_same(folder: Path, saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Stop unless what a checkpoint was made with is what this run asks for."""
    for name, value in wanted.items():
        if saved.get(name) != value:
            fail(
                f"{folder} was made with {name} = {saved.get(name)}, and this run has {value}: "
                "give the --size and the options that it was made with."
            )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors file, or stop."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        fail(f"{path} cannot be read: {error}.")


def load_weights(model: nn.Module, path: Path, file_name: Callable[[str], str]) -> None:
    """Put a file's tensors in place of a model's parameters; the model may be on `meta`."""
    tensors = read_tensors(path)
    wanted = {file_name(name): p.shape for name, p in model.named_parameters()}
    if {name: tensor.shape for name, tensor in tensors.items()} != wanted:
        fail(f"{path} holds other tensors than this model: it belongs to another model.py.")
    state = {name: tensors[file_name(name)] for name, _ in model.named_parameters()}
    model.load_state_dict(state, assign=next(model.parameters()).is_meta)


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an optimizer's state as tensors called `parameter/key`."""
    return {
        f"{name}/{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state[parameter].items()
    }


def load_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Put the tensors of `optimizer_tensors` back."""
    states: dict[str, dict[str, Tensor]] = {}
    for path, tensor in tensors.items():
        name, _, key = path.rpartition("/")
        states.setdefault(name, {})[key] = tensor
    names = {parameter: name for name, parameter in model.named_parameters()}
    ordered = [p for group in optimizer.param_groups for p in group["params"]]
    if set(states) != set(names.values()):
        fail("the checkpoint's optimizer state belongs to another model: train without --resume.")
    groups = optimizer.state_dict()["param_groups"]
    numbered = {index: states[names[p]] for index, p in enumerate(ordered)}
    optimizer.load_state_dict({"state": numbered, "param_groups": groups})


def to_json(value: object) -> str:
    """Return indented JSON with a final newline."""
    return json.dumps(value, indent=2) + "\n"


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f"{folder.name}.{suffix}")
