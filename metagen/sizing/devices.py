"""The devices that a model is meant for, from `data/devices.csv`, where the sources stand."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace

from metagen.units import UnitError, parse_hardware
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
    """One row of the table, in base units and for each device; None where there is no figure.

    Attributes:
        model: Name of the device in the table.
        flops: Operations a second to plan with.
        flops_format: What kind of figure `flops` is, such as `bf16 dense peak`.
        bandwidth: Bytes a second between memory and processor.
        memory: Bytes of memory.
        usable: Share of the memory that a model may take.
        power: Watts at full load.
        power_source: Where the watts come from.
        sources: Where the other figures come from.
        number: How many of them share the model.
    """

    model: str
    flops: float | None
    flops_format: str
    bandwidth: float
    memory: float | None
    usable: float
    power: float | None
    power_source: str
    sources: str
    number: int = 1

    @property
    def name(self) -> str:
        """The device with its number, such as `8x H100-80GB-SXM`."""
        return self.model if self.number == 1 else f"{self.number}x {self.model}"

    @property
    def measured(self) -> bool:
        """Whether `flops` was measured on real work, rather than a peak of the hardware."""
        return self.flops_format.endswith("measured")

    @property
    def usable_memory(self) -> int | None:
        """Bytes that weights, cache and activations may take on all of them."""
        return None if self.memory is None else round(self.number * self.memory * self.usable)


def table(desk: Desk) -> dict[str, Device]:
    """Return every device by its name."""
    rows = csv.DictReader(desk.source(TABLE).decode().splitlines())
    return {row["device"]: _device(row) for row in rows}


def target(desk: Desk) -> Device | None:
    """Return the device that the spec declares, by name, number or class, or None."""
    declared = desk.key("constraints.device")
    if not declared:
        return None
    number, name = _counted(declared)
    found = by_prefix(desk, CLASSES.get(name, name))
    return found and replace(found, number=number)


def _counted(declared: str) -> tuple[int, str]:
    try:
        return parse_hardware(declared)
    except UnitError:
        return 1, declared


def by_prefix(desk: Desk, name: str) -> Device | None:
    """Return the device of a name, or the first whose name starts with it, such as `A100`."""
    known, wanted = table(desk), name.lower()
    return known.get(name) or next(
        (device for device in known.values() if device.model.lower().startswith(wanted)), None
    )


def _device(row: dict[str, str]) -> Device:
    return Device(
        model=row["device"],
        flops=_scaled(row["planning_tflops"], 1e12),
        flops_format=row["planning_format"],
        bandwidth=float(row["mem_bandwidth_gb_s"]) * 1e9,
        memory=_scaled(row["memory_gb"], 1e9),
        usable=float(row["usable_memory_fraction_suggested"]),
        power=_scaled(row["power_w"], 1.0),
        power_source=row["power_source"],
        sources=row["sources"],
    )


def _scaled(text: str, unit: float) -> float | None:
    return float(text) * unit if text else None
