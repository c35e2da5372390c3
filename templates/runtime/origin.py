"""Where the numbers of a script come from: its command line, code, libraries and devices."""

import contextlib
import datetime
import os
import platform
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from runtime.digests import digest
from runtime.distributed import world_size

HERE = Path(__file__).resolve().parents[1]
LIBRARIES = ("torch", "numpy", "safetensors", "tokenizers")
CPUINFO = Path("/proc/cpuinfo")


def now() -> str:
    """Return the time as ISO 8601 in UTC, such as 2026-05-01T12:00:00+00:00."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def command() -> str:
    """Return the command line that started this script, without the folders of this machine."""
    line = shlex.join([Path(sys.argv[0]).name, *map(_portable, sys.argv[1:])])
    if world_size() == 1:
        return f"python {line}"
    # torchrun says how many of the processes run on this machine.
    local = int(os.environ.get("LOCAL_WORLD_SIZE", world_size()))
    nodes = f"--nnodes {world_size() // local} " if local < world_size() else ""
    return f"torchrun {nodes}--nproc-per-node {local} {line}"


def _portable(argument: str) -> str:
    """Return an argument, of an absolute path only the last part.

    Cards and papers print the command, and the folders of a machine may name its user.
    """
    option, mark, value = argument.rpartition("=")
    path = Path(value)
    return f"{option}{mark}{path.name}" if path.is_absolute() else argument


def code_digests() -> dict[str, str]:
    """Return the sha256 of each file of `code/` that this script has imported, by its name.

    Names are relative to `code/`, such as `runtime/loop.py`. A script that is not imported, such as
    infer.py in a training, has no part in its numbers.
    """
    # A virtual environment may lie below this folder too, so only the two folders count.
    own = sorted(path for path in _imported() if path.parent in (HERE, HERE / "runtime"))
    return {p.relative_to(HERE).as_posix(): digest(p.read_bytes()) for p in own if p.is_file()}


def _imported() -> set[Path]:
    """Return the files of all modules: thousands, in hundreds of folders, which are resolved."""
    files = (getattr(module, "__dict__", {}).get("__file__") for module in [*sys.modules.values()])
    parts = [file.rpartition(os.sep) for file in files if isinstance(file, str)]
    folders = {folder: Path(folder).resolve() for folder, _, _ in parts}
    return {folders[folder] / name for folder, _, name in parts}


def config_digest() -> str | None:
    """Return the sha256 of config.json, None without one."""
    path = HERE / "config.json"
    return digest(path.read_bytes()) if path.is_file() else None


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that compute, and of CUDA if there is."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found | ({"cuda": str(torch.version.cuda)} if torch.version.cuda else {})


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or of the first CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = CPUINFO.read_text(errors="replace").splitlines() if CPUINFO.is_file() else []
    pairs = (line.partition(":") for line in lines)
    named = (" ".join(value.split()) for name, _, value in pairs if "model name" in name)
    return next(named, "") or platform.processor() or platform.machine()


def devices(device: torch.device) -> dict[str, Any]:
    """Return the type, the names and the number of the devices of all processes."""
    names: list[str] = [device_name(device)] * world_size()
    if world_size() > 1:
        dist.all_gather_object(names, device_name(device))
    return {"type": device.type, "names": list(dict.fromkeys(names)), "count": len(names)}
