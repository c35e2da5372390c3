"""The device of a script: its precision, its peak speed and its memory."""

import contextlib
import math
import os
import re

import torch

from runtime.errors import fail

# Dense bfloat16 operations per second, from data sheets. Figures with sparsity are twice as high,
# and would halve the MFU.
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
    """Return the device of an option, and set the number of CPU threads.

    Under torchrun, each process of a machine uses a GPU of its own.
    """
    torch.set_num_threads(threads)
    if name == "cuda" and not torch.cuda.is_available():
        fail("this machine has no CUDA device: use --device cpu.")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    local, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local >= count:
        fail(f"this machine has {count} GPUs: run torchrun with --nproc-per-node {count}.")
    return torch.device("cuda", local)


def be_deterministic(seed: int) -> None:
    """Make runs with one seed, machine and number of threads equal: bit for bit on a CPU."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    torch.use_deterministic_algorithms(
        True, warn_only=True
    )  # some GPU kernels have no deterministic form
    torch.manual_seed(seed)


def in_bfloat16(device: torch.device, dtype: str) -> bool:
    """Return whether matrix products run in bfloat16; `auto` uses it if the GPU supports it."""
    if dtype == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return dtype == "bfloat16"


def autocast(device: torch.device, dtype: str) -> contextlib.AbstractContextManager[object]:
    """Return the context in which matrix products run in bfloat16, or one that does nothing."""
    if not in_bfloat16(device, dtype):
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def in_float32(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Return the context in which matrix products run in float32, within that of `autocast`."""
    # Autocast does not know the meta device, on which FLOPs are counted.
    if device.type == "meta":
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


def capability(device: torch.device) -> tuple[float, float]:
    """Return the compute capability of a GPU, such as (8, 0) of an A100; infinite for a CPU."""
    if device.type != "cuda":
        return math.inf, 0
    return torch.cuda.get_device_capability(device)


def peak_flops(device: torch.device) -> float | None:
    """Return a device's peak operations per second in bfloat16; None if unknown."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    # A MIG slice has a share of the GPU's units, and its name does not say which.
    if "MIG" in name:
        return None
    return next((peak for known, peak in PEAKS.items() if re.search(known, name)), None)


def device_memory(device: torch.device) -> int:
    """Return the bytes of memory that a device has."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_table(
    parameters: int, state: int, shards: int, device: torch.device, averaged: bool = False
) -> str:
    """Return the least memory of training on a device as a table, or stop if it does not fit.

    All numbers have four bytes.

    Args:
        parameters: Number of weights.
        state: Numbers that the optimizer keeps beside them.
        shards: Processes that share weights, gradients and the optimizer's state.
        device: Where this process computes.
        averaged: Whether training also has a moving average of the weights.
    """
    numbers = {"weights": parameters, "gradients": parameters, "optimizer": state}
    numbers |= {"average": parameters} if averaged else {}
    rows = {name: 4 * count // shards for name, count in numbers.items()}
    need, have = sum(rows.values()), device_memory(device)
    if need > have:
        fail(
            f"training {parameters:,} parameters needs {need / 1e9:.1f} GB plus activations, "
            f"but the {device.type} has {have / 1e9:.1f} GB: use --size proxy, a larger device, or "
            "more of them with --parallel fsdp."
        )
    lines = [
        f"  {name:<10} {size / 1e6:12,.1f} MB" for name, size in (rows | {"total": need}).items()
    ]
    head = f"{parameters:,} parameters in float32, before activations:"
    return "\n".join([head, *lines])
