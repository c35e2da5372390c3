"""Checkpoints: a folder of safetensors and JSON, replaced as a whole, read without pickle.

Tensors are stored whole, so a run may be resumed with another number of processes. The optimizer's
state lies in a folder of its own: other programs take each .safetensors file beside config.json for
weights.
"""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
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
from runtime.weights import FILE, weight_files

Tensors = Mapping[str, Tensor]
OPTIMIZER, EXPERIENCE = (f"optimizer/{name}.safetensors" for name in ("state", "experience"))
STATE = "state.json"
DTYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.uint8: "U8",
}


def save_checkpoint(
    folder: Path, files: Mapping[str, Tensors], texts: Mapping[str, str], step: int
) -> None:
    """Write a checkpoint next to the last one, then replace that; or stop.

    If the process is killed, the last checkpoint or the new one remains; see `find_checkpoint`. All
    processes must call this function, because each may hold a shard of a tensor; the first process
    writes.

    Args:
        folder: The folder of the checkpoint.
        files: The tensors of each file, model.safetensors and what only training reads.
        texts: The text of every other file.
        step: Updates that were done; the files of tensors carry it.
    """
    new = _beside(folder, "new")
    if rank() != 0:
        for tensors in files.values():
            write_tensors(None, tensors)
        return
    try:
        _write_files(new, files, texts, step)
    except OSError as error:
        _remove(new)
        fail(f"{folder} cannot be written: {error.strerror}; the last checkpoint is unchanged.")
    _replace(folder, new)


def _replace(folder: Path, new: Path) -> None:
    """Put a new folder in the place of one that may exist."""
    old = _beside(folder, "old")
    # A folder with files cannot be replaced in one rename, so the last one moves away first.
    # A script that looks for it just then puts it back, and it moves once more.
    while new.exists():
        if os.path.lexists(folder):
            _remove(old)
            folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            if not folder.exists():
                raise
    _remove(old)


def _remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _write_files(
    new: Path, files: Mapping[str, Tensors], texts: Mapping[str, str], step: int
) -> None:
    """Write the files of a checkpoint to a new folder, down to the disk."""
    _remove(new)
    new.mkdir(parents=True)
    for name, tensors in files.items():
        (new / name).parent.mkdir(exist_ok=True)
        write_tensors(new / name, tensors, {"step": str(step)})
    for name, text in texts.items():
        (new / name).parent.mkdir(exist_ok=True)
        (new / name).write_text(text, encoding="utf-8")
    # Without fsync, a power cut could leave the new name with empty files.
    for path in (path for path in new.rglob("*") if path.is_file()):
        with path.open("rb") as stream:
            os.fsync(stream.fileno())


def write_tensors(
    path: Path | None, tensors: Tensors, facts: Mapping[str, str] | None = None
) -> None:
    """Write a .safetensors file, and hold one whole tensor in memory at a time.

    The format is the length of a JSON header in eight bytes, the header, and the tensors' bytes.

    Args:
        path: The file; None in a process that only contributes its shards.
        tensors: The tensors, in the same order in every process.
        facts: Further entries of the header's metadata.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **(facts or {})}}
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
    weight_files(folder)
    return folder


def check_free(folder: Path) -> None:
    """Stop unless a folder is new, is empty, or holds a checkpoint that train.py wrote."""
    if folder.exists() and not folder.is_dir():
        fail(f"{folder} is a file, not a folder for a checkpoint.")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not (folder / FILE).is_file():
        fail(f"{folder} has other files, which a checkpoint would replace: name a new folder.")
    if saved_step(folder) is None:
        fail(
            f"{folder} has weights that train.py did not write, and a checkpoint would replace "
            "them: name a new folder with --out, and start from these with --init-from."
        )


def check_only(folder: Path, texts: Iterable[str]) -> None:
    """Stop if a folder has files beside those of a checkpoint, which would replace them.

    Args:
        folder: The folder, which may not exist yet.
        texts: Names of the files that a checkpoint has beside its tensors.
    """
    own = {Path(name).parts[0] for name in (FILE, OPTIMIZER, *texts)}
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if others := [name for name in names if name not in own]:
        fail(
            f"{folder} has the file {others[0]}, which the next checkpoint would remove: move it "
            "to another folder."
        )


def saved_step(folder: Path) -> int | None:
    """Return after how many updates train.py saved a folder; None if it did not save it so."""
    if not (folder / STATE).is_file() or not (folder / FILE).is_file():
        return None
    step = read_state(folder)["step"]
    return step if _step_of(folder / FILE) == str(step) else None


def read_state(folder: Path) -> dict[str, Any]:
    """Return the object of state.json, or stop if its step is not a whole number."""
    state = read_json(folder / STATE)
    step = state.get("step")
    if type(step) is not int or step < 0:
        fail(f"{folder / STATE} has step = {json.dumps(step)}, not a whole number: {AGAIN}")
    return state


AGAIN = "start a new run from these weights with --init-from, and without --resume."


def saved_state(folder: Path) -> dict[str, Any]:
    """Return the state of a run that can go on, or stop unless all its files are of one step."""
    if not (folder / STATE).is_file():
        fail(f"{folder} has no {STATE}, so train.py did not write it: {AGAIN}")
    state = read_state(folder)
    for name in (FILE, OPTIMIZER):
        if _step_of(folder / name) != str(state["step"]):
            fail(f"{folder / name} was not saved at step {state['step']} of {STATE}: {AGAIN}")
    begun = state.get("init_from", "")
    if begun is not None and not re.fullmatch("[0-9a-f]{64}", str(begun)):
        fail(f"{folder / STATE} has init_from = {json.dumps(begun)}, not a digest: {AGAIN}")
    return state


def _step_of(path: Path) -> str | None:
    """Return the step that a file of tensors carries, None if it has none; or stop."""
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("step")
    except (OSError, SafetensorError) as error:
        fail(f"{path} cannot be read: {error}.")


def optimizer_tensors(model: nn.Module, optimizers: Optimizers) -> dict[str, Tensor]:
    """Return the state of all optimizers as tensors named `parameter/key`."""
    return {
        f"{name}/{key}": value
        for name, parameter in model.named_parameters()
        for optimizer in optimizers
        # Sorted, because a loaded state has another order, and equal states are equal bytes.
        for key, value in sorted(optimizer.state.get(parameter, {}).items())
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


def load_tensors(path: Path, step: int) -> dict[str, Tensor]:
    """Return the tensors of a file that was saved after a number of steps, or stop."""
    if _step_of(path) != str(step):
        fail(f"{path} was not saved at step {step} of {STATE}: {AGAIN}")
    return load_file(path)


def to_json(value: object) -> str:
    """Return indented JSON with a final newline."""
    return json.dumps(value, indent=2) + "\n"


def _beside(folder: Path, suffix: str) -> Path:
    """Return a hidden name next to a folder, which no person gives to a copy of it."""
    return folder.with_name(f".{folder.name}.train-{suffix}")
