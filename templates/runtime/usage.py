"""What a process uses of its device: time, memory and energy."""

import contextlib
import importlib
import math
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch

from runtime.distributed import rank, total, world_size

NOT_MEASURED = "not measured"
POWERCAP = Path("/sys/class/powercap")
EVERY = 10.0  # seconds between two readings of energy counters, which cost a system call each
MOST_WATTS = 1000.0  # a CPU package takes less; its counter starts again after a known energy
COLLECTED = 512  # pairs of CUDA events that wait to be read


class Meter(Protocol):
    """What counts energy.

    Attributes:
        source: Its name in run.json.
    """

    source: str

    def joules(self) -> float:
        """Return the energy since the meter was made; NaN if it is unknown."""


class NoMeter:
    """Counts nothing: a machine that shows no energy, or shows it to the administrator alone."""

    source = NOT_MEASURED

    def joules(self) -> float:
        return math.nan


class GPUMeter:
    """The energy of one GPU, by NVIDIA's management library (NVML), from Volta on.

    The counter is that of the whole GPU: it includes what other programs use it for.
    """

    source = "NVML"

    def __init__(self, device: torch.device) -> None:
        # The library is optional, so it is imported by its name: pip install nvidia-ml-py.
        self._nvml: Any = importlib.import_module("pynvml")
        self._nvml.nvmlInit()
        # CUDA_VISIBLE_DEVICES renumbers GPUs for torch and not for NVML; the UUID is the same.
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        self._handle = self._nvml.nvmlDeviceGetHandleByUUID(uuid)
        self._start = self._total()

    def _total(self) -> float:
        return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1000

    def joules(self) -> float:
        return self._total() - self._start


class CPUMeter:
    """The energy of a machine's CPU packages, by RAPL; Linux shows it in /sys/class/powercap.

    It includes what other programs use the CPU for, and often only root may read it.
    """

    source = "RAPL"

    def __init__(self, root: Path = POWERCAP, clock: Callable[[], float] = time.monotonic) -> None:
        zones = sorted(root.glob("intel-rapl:*"))
        # A package includes its cores, which are a zone of their own below it.
        self._zones = [z for z in zones if (z / "name").read_text().startswith("package")]
        if not self._zones:
            raise OSError("no package")
        self._clock = clock
        self._ranges = [self._number(zone, "max_energy_range_uj") for zone in self._zones]
        self._last = self._read()
        self._joules = 0.0

    @staticmethod
    def _number(zone: Path, name: str) -> int:
        return int((zone / name).read_text())

    def _read(self) -> tuple[float, list[int]]:
        return self._clock(), [self._number(zone, "energy_uj") for zone in self._zones]

    def joules(self) -> float:
        (before, old), (after, new) = self._last, self._read()
        self._last = after, new
        for first, then, most in zip(old, new, self._ranges, strict=True):
            # A counter that might have started again twice since has lost count.
            lost = (after - before) * MOST_WATTS * 1e6 > most
            self._joules += math.nan if lost else (then - first) % (most + 1) / 1e6
        return self._joules


def meter(device: torch.device) -> Meter:
    """Return what counts the energy of a device, or a meter that counts nothing."""
    # A slice of a GPU (MIG) has no counter of its own.
    with contextlib.suppress(Exception):  # what is not measured must not end a training
        if device.type == "cpu":
            return CPUMeter()
        if "MIG" not in torch.cuda.get_device_name(device):
            return GPUMeter(device)
    return NoMeter()


class Usage:
    """The device time, the peak memory and the energy of a run, from its start.

    Device time is CUDA's own time of steps and validations on a GPU, and the process's CPU time
    over all threads on a CPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._meter = meter(device)
        self._cpu = time.process_time()
        self._gpu = 0.0
        self._events: list[tuple[Any, Any]] = []
        self._read = time.monotonic()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    @property
    def device_time(self) -> str:
        """What the device time is."""
        return "CUDA events" if self._device.type == "cuda" else "CPU time"

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Count the device's time in a block; nothing waits for the device here."""
        if self._device.type != "cuda":
            yield
        else:
            event: Any = torch.cuda.Event
            start, end = (event(enable_timing=True) for _ in range(2))
            start.record()
            yield
            end.record()
            self._events.append((start, end))
        if len(self._events) > COLLECTED:
            self._collect()
        if time.monotonic() - self._read > EVERY:
            self._read = time.monotonic()
            self._meter.joules()

    def _collect(self) -> None:
        for start, end in self._events:
            end.synchronize()
            self._gpu += start.elapsed_time(end) / 1000
        self._events.clear()

    def _own(self) -> list[float]:
        """Return this process's seconds, bytes and joules."""
        self._collect()
        on_gpu = self._device.type == "cuda"
        seconds = self._gpu if on_gpu else time.process_time() - self._cpu
        peak = torch.cuda.max_memory_allocated(self._device) if on_gpu else peak_resident()
        joules = self._meter.joules()
        # The counter of a machine's CPUs counts for all processes on it, so one of them reports it.
        shared = isinstance(self._meter, CPUMeter) and os.environ.get("LOCAL_RANK", "0") != "0"
        return [seconds, float(peak), 0.0 if shared else joules]

    def read(self) -> dict[str, Any]:
        """Return what all processes have used; each of them must call this.

        Returns:
            `device`: seconds, summed; `memory_peak`: bytes of the process with the most; `energy`:
            joules, summed, None if one process has not measured them, and their source.
        """
        rows = torch.zeros(world_size(), 3, dtype=torch.float64)
        rows[rank()] = torch.tensor(self._own(), dtype=torch.float64)
        seconds, peaks, joules = total(rows).unbind(1)
        known = bool(torch.isfinite(joules).all())
        return {
            "device": float(seconds.sum()),
            "memory_peak": int(peaks.max()),
            "energy": {
                "joules": float(joules.sum()) if known else None,
                "source": self._meter.source if known else NOT_MEASURED,
            },
        }


def peak_resident() -> int:
    """Return the most bytes of memory that this process has held so far."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # Linux counts in KiB
