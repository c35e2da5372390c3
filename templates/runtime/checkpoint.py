"""Checkpoints: a folder of safetensors and JSON, replaced as a whole, read without pickle.

Tensors are stored whole, so a run may be resumed with another number of processes.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from runtime.distributed import rank, shard_like, whole
from runtime.errors import fail
from runtime.optimization import Adafactor, Optimizers
from runtime.settings import read_json

Tensors = Mapping[str, Tensor]
DTYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
}


def save_checkpoint(
    folder: Path, weights: Tensors, optimizer: Tensors, texts: Mapping[str, str]
) -> None:
    """Write a checkpoint next to the last one, then replace that; or stop.

    If the process is killed, the last checkpoint or the new one remains; see `find_checkpoint`. All
    processes must call this function, because each may hold a shard of a tensor; the first process
    writes.

    Args:
        folder: The folder of the checkpoint.
        weights: The tensors of model.safetensors.
        optimizer: The tensors of optimizer.safetensors.
        texts: The text of every other file.
    """
    new = _beside(folder, "new")
    files = {"model.safetensors": weights, "optimizer.safetensors": optimizer}
    if rank() != 0:
        for tensors in files.values():
            write_tensors(None, tensors)
        return
    try:
        _write_files(new, files, texts)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        fail(f"{folder} cannot be written: {error.strerror}; the last checkpoint is unchanged.")
    _replace(folder, new)


def _replace(folder: Path, new: Path) -> None:
    """Put a new folder in the place of one that may exist."""
    old = _beside(folder, "old")
    # A folder with files cannot be replaced in one rename, so the last one moves away first.
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _write_files(new: Path, files: Mapping[str, Tensors], texts: Mapping[str, str]) -> None:
    """Write the files of a checkpoint to a new folder, down to the disk."""
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    for name, tensors in files.items():
        write_tensors(new / name, tensors)
    for name, text in texts.items():
        (new / name).parent.mkdir(exist_ok=True)
        (new / name).write_text(text, encoding="utf-8")
    # Without fsync, a power cut could leave the new name with empty files.
    for path in (path for path in new.rglob("*") if path.is_file()):
        with path.open("rb") as stream:
            os.fsync(stream.fileno())


def write_tensors(path: Path | None, tensors: Tensors) -> None:
    """Write a .safetensors file, and hold one whole tensor in memory at a time.

    The format is the length of a JSON header in eight bytes, the header, and the tensors' bytes.

    Args:
        path: The file; None in a process that only contributes its shards.
        tensors: The tensors, in the same order in every process.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.numel() * tensor.element_size()
        dtype, shape = DTYPES[tensor.dtype], list(tensor.shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    # The format aligns tensors to 8 bytes, so that they can be mapped into memory.
    text += b" " * (-len(text) % 8)
    with path.open("wb") if path else contextlib.nullcontext() as file:
        if file:
            file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            values = whole(tensor.detach())
            if file:
                file.write(values.cpu().contiguous().flatten().view(torch.uint8).numpy().data)


def find_checkpoint(folder: Path) -> Path:
    """Return a folder that holds a checkpoint, or stop.

    The last one is restored if the process was killed between the two renames of `save_checkpoint`.
    """
    old = _beside(folder, "old")
    if not folder.exists() and old.is_dir():
        with contextlib.suppress(FileNotFoundError):  # another process has restored it
            old.rename(folder)
    if not (folder / "model.safetensors").is_file():
        fail(f"{folder} has no checkpoint: run train.py first, or name one with --checkpoint.")
    return folder


def check_free(folder: Path) -> None:
    """Stop unless a folder is new, is empty, or holds a checkpoint that may be replaced."""
    if folder.exists() and not folder.is_dir():
        fail(f"{folder} is a file, not a folder for a checkpoint.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "model.safetensors").is_file():
        fail(f"{folder} has other files, which a checkpoint would replace: name a new folder.")


def check_same(folder: Path, saved: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Stop unless a checkpoint was made with the settings of this run."""
    for name, value in current.items():
        if saved.get(name) != value:
            fail(
                f"{folder} was made with {name} = {saved.get(name)}, but this run has {value}: "
                "use the --size and the options of that run."
            )


def load_weights(model: nn.Module, path: Path, file_name: Callable[[str], str]) -> None:
    """Load a file's tensors into a model, which may be on `meta`.

    Shapes () and (1,) are equal here: FSDP gives a single number a dimension.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        fail(f"{path} cannot be read: {error}.")
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    expected = {file_name(name): _squeezed(shape) for name, shape in shapes.items()}
    if {name: _squeezed(tensor.shape) for name, tensor in tensors.items()} != expected:
        fail(
            f"{path} has other tensors than this model: use the model.py that it was trained with."
        )
    state = {name: tensors[file_name(name)].reshape(shape) for name, shape in shapes.items()}
    model.load_state_dict(state, assign=next(model.parameters()).is_meta)


def _squeezed(shape: torch.Size) -> tuple[int, ...]:
    return () if shape == (1,) else tuple(shape)


def load_model(build: Callable[[], Any], folder: Path) -> Any:
    """Return the network of a checkpoint in evaluation mode, or stop if it belongs to another one.

    Args:
        build: Makes the network.
        folder: What `find_checkpoint` returned.
    """
    with torch.device("meta"):
        # On `meta` the network takes no memory, and its weights are not drawn only to be replaced.
        model = build()
    check_same(folder, read_json(folder / "config.json"), asdict(model.config))
    load_weights(model, folder / "model.safetensors", model.checkpoint_name)
    return model.eval()


def optimizer_tensors(model: nn.Module, optimizers: Optimizers) -> dict[str, Tensor]:
    """Return the state of all optimizers as tensors named `parameter/key`."""
    return {
        f"{name}/{key}": value
        for name, parameter in model.named_parameters()
        for optimizer in optimizers
        for key, value in optimizer.state.get(parameter, {}).items()
    }


@torch.no_grad()
def load_optimizers(model: nn.Module, optimizers: Optimizers, path: Path) -> None:
    """Load the tensors of `optimizer_tensors` from a file, sharded as the parameters are.

    `parameter/raw` is the parameter itself, if model.safetensors holds an average of it.
    """
    parameters = dict(model.named_parameters())
    owners = {p: o for o in optimizers for group in o.param_groups for p in group["params"]}
    states: dict[Tensor, dict[str, Tensor]] = {p: {} for p in owners}
    try:
        with safe_open(path, "pt") as file:
            for entry in file.keys():  # noqa: SIM118 - a file, not a dictionary
                name, _, key = entry.rpartition("/")
                like, tensor = parameters[name], file.get_tensor(entry)
                # The state of Adafactor is whole in every process; the parameter itself never is.
                cut = key == "raw" or not isinstance(owners[like], Adafactor)
                tensor = shard_like(tensor, like) if cut and tensor.shape == like.shape else tensor
                if key == "raw":
                    like.copy_(tensor)
                else:
                    states[like][key] = tensor
    except (OSError, SafetensorError) as error:
        fail(f"{path} cannot be read: {error}.")
    except KeyError:
        fail(f"{path} belongs to another model: train without --resume.")
    for optimizer in optimizers:
        ordered = [p for group in optimizer.param_groups for p in group["params"]]
        numbered = {index: states[p] for index, p in enumerate(ordered)}
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": numbered, "param_groups": groups})


def to_json(value: object) -> str:
    """Return indented JSON with a final newline."""
    return json.dumps(value, indent=2) + "\n"


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f"{folder.name}.{suffix}")
