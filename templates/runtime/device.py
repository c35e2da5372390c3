"""Where a script computes, in which precision, and how fast that place is at best."""

import contextlib
import os
import re

import torch

from runtime.errors import fail

# Dense bfloat16 operations a second, from the data sheets; those with sparsity are twice that.
PEAKS = {
    r"\bA100\b": 312e12,
    r"\bH100 PCIe\b": 756e12,
    r"\bH100 NVL\b": 835e12,
    r"\bH100\b": 989.4e12,
    r"\bH200$": 989e12,
    r"\bB200\b": 2250e12,
    r"\bL4$": 121e12,
    r"\bL40S$": 362e12,
    r"\bRTX 4090$": 165.2e12,
    r"\bRTX 3090$": 71e12,
}


def choose_device(name: str, threads: int) -> torch.device:
    """Return the device of an option; on the CPU, compute with that many threads.

    Under torchrun each process of a machine takes a GPU of its own.
    """
    torch.set_num_threads(threads)
    if name == "cuda" and not torch.cuda.is_available():
        fail("there is no CUDA device here: use --device cpu.")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    local, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local >= count:
        fail(f"this machine has {count} GPUs: give torchrun --nproc-per-node {count}.")
    return torch.device("cuda", local)


def be_deterministic(seed: int) -> None:
    """Make runs with this seed, machine and number of threads the same: on a CPU, to the bit."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    torch.use_deterministic_algorithms(True, warn_only=True)  # some GPU kernels have no such form
    torch.manual_seed(seed)


def in_bfloat16(device: torch.device, dtype: str) -> bool:
    """Return whether matrix products run in bfloat16; `auto` takes it where the GPU has it."""
    if dtype == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return dtype == "bfloat16"


def autocast(device: torch.device, dtype: str) -> contextlib.AbstractContextManager[object]:
    """Return the context in which matrix products run in bfloat16, or one that does nothing."""
    if not in_bfloat16(device, dtype):
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def peak_flops(device: torch.device) -> float | None:
    """Return the operations a second that a device can do in bfloat16, None where unknown."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    if "MIG" in name:
        return None
    return next((peak for known, peak in PEAKS.items() if re.search(known, name)), None)


def device_memory(device: torch.device) -> int:
    """Return the bytes of memory that a device has."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_table(parameters: int, shards: int, device: torch.device, averaged: bool = False) -> str:
    """Return what training keeps on a device at least, or stop where it cannot fit.

    AdamW in float32 holds four numbers of four bytes a parameter: the weight, its gradient, and
    the two moments.

    Args:
        parameters: Number of weights.
        shards: Processes among which they, their gradients and the optimizer's state are cut.
        device: Where this process computes.
        averaged: Whether a moving average of the weights is kept too.
    """
    sizes = {"weights": 4, "gradients": 4, "optimizer": 8} | ({"average": 4} if averaged else {})
    rows = {name: parameters * size // shards for name, size in sizes.items()}
    need, have = sum(rows.values()), device_memory(device)
    if need > have:
        fail(
            f"training {parameters:,} parameters needs {need / 1e9:.1f} GB and activations, and "
            f"the {device.type} has {have / 1e9:.1f} GB: use --size proxy, a larger device, or "
            "more of them with --parallel fsdp."
        )
    lines = [
        f"  {name:<10} {size / 1e6:12,.1f} MB" for name, size in (rows | {"total": need}).items()
    ]
    head = f"{parameters:,} parameters in float32, before activations:"
    return "\n".join([head, *lines])
