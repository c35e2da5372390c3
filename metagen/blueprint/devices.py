"""The devices that a model is meant for, from `data/devices.csv`, where the sources stand."""

from __future__ import annotations

import csv
from dataclasses import dataclass

from metagen.work import Desk

TABLE = "data/devices.csv"

# The representative device of each class that `constraints.device` may name:
# a GPU that nobody named is the more modest consumer card, an edge device the small Jetson.
CLASSES = {
    "consumer_gpu": "RTX-4090",
    "datacenter_gpu": "H100-80GB-SXM",
    "gpu": "RTX-3090",
    "cpu": "laptop-CPU (Core i7-12700H class)",
    "edge": "Jetson-Orin-Nano-8GB",
    "mobile": "iPhone-15-class (A16)",
}


@dataclass(frozen=True)
class Device:
    """One row of the table, in base units; None where the table has no figure.

    Attributes:
        name: Name of the device.
        flops: Operations a second to plan with.
        flops_format: What kind of figure `flops` is, such as `bf16 dense peak`.
        bandwidth: Bytes a second between memory and processor.
        memory: Bytes of memory.
        usable: Share of the memory that a model may take.
        sources: Where the figures come from.
    """

    name: str
    flops: float | None
    flops_format: str
    bandwidth: float
    memory: float | None
    usable: float
    sources: str

    @property
    def measured(self) -> bool:
        """Whether `flops` was measured on real work, rather than a peak of the hardware."""
        return self.flops_format.endswith("measured")

    @property
    def usable_memory(self) -> int | None:
        """Bytes that weights, cache and activations may take."""
        return None if self.memory is None else round(self.memory * self.usable)


def table(desk: Desk) -> dict[str, Device]:
    """Return every device by its name."""
    rows = csv.DictReader(desk.source(TABLE).decode().splitlines())
    return {row["device"]: _device(row) for row in rows}


def target(desk: Desk) -> Device | None:
    """Return the device that the spec declares, by name or by class, or None."""
    declared = desk.key("constraints.device")
    return by_prefix(desk, CLASSES.get(declared, declared)) if declared else None


def by_prefix(desk: Desk, name: str) -> Device | None:
    """Return the device of a name, or the first whose name starts with it, such as `A100`."""
    known, wanted = table(desk), name.lower()
    return known.get(name) or next(
        (device for device in known.values() if device.name.lower().startswith(wanted)), None
    )


def _device(row: dict[str, str]) -> Device:
    return Device(
        name=row["device"],
        flops=_scaled(row["planning_tflops"], 1e12),
        flops_format=row["planning_format"],
        bandwidth=float(row["mem_bandwidth_gb_s"]) * 1e9,
        memory=_scaled(row["memory_gb"], 1e9),
        usable=float(row["usable_memory_fraction_suggested"]),
        sources=row["sources"],
    )


def _scaled(text: str, unit: float) -> float | None:
    return float(text) * unit if text else None
