"""Where a script computes, in which precision, and whether the model fits there."""

import contextlib
import os

import torch

from runtime.errors import fail


def choose_device(name: str, threads: int) -> torch.device:
    """Return the device of an option; on the CPU, compute with that many threads."""
    torch.set_num_threads(threads)
    if name == "cuda" and not torch.cuda.is_available():
        fail("there is no CUDA device here: use --device cpu.")
    use_cuda = name != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if use_cuda else "cpu")


def be_deterministic(seed: int) -> None:
    """Make runs with this seed, machine and number of threads the same: on a CPU, to the bit."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    torch.use_deterministic_algorithms(True, warn_only=True)  # some GPU kernels have no such form
    torch.manual_seed(seed)


def autocast(device: torch.device, dtype: str) -> contextlib.AbstractContextManager[object]:
    """Return the context in which matrix products run in bfloat16, or one that does nothing.

    `auto` takes bfloat16 where the GPU has it; a CPU computes in float32.
    """
    if dtype == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
        dtype = "bfloat16" if fast else "float32"
    if dtype == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def device_memory(device: torch.device) -> int:
    """Return the bytes of memory that a device has."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_table(parameters: int, device: torch.device) -> str:
    """Return what training keeps in memory at least, or stop where it cannot fit.

    AdamW in float32 holds four numbers of four bytes a parameter: the weight, its gradient, and
    the two moments.
    """
    rows = {"weights": 4, "gradients": 4, "optimizer": 8, "total": 16}
    lines = [f"  {name:<10} {parameters * size / 1e9:9.3f} GB" for name, size in rows.items()]
    have, need = device_memory(device), parameters * rows["total"]
    if need > have:
        fail(
            f"training {parameters:,} parameters needs {need / 1e9:.1f} GB and activations, and "
            f"the {device.type} has {have / 1e9:.1f} GB: use --size proxy or a larger device."
        )
    head = f"{parameters:,} parameters in float32, before activations:"
    return "\n".join([head, *lines])
