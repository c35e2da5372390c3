"""The devices that a model may run on, and how long they take for a piece of work.

Their figures and sources are in `data/devices.csv`. Times follow a roofline (Williams et al.,
2009, doi:10.1145/1498765.1498785): a piece of work takes the longer of its arithmetic and its
memory traffic, each at the share of the device's peak that was measured on real runs. These are
estimates for batch 1. Several devices share weights and cache evenly; the share that was measured
on eight devices includes the cost of their links.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from functools import cache

from metagen.families.demand import Cost
from metagen.spec.words import matching
from metagen.units import counted
from metagen.work import Desk

TABLE = "data/devices.csv"
DECODING = "data/decoding.csv"
USUAL = "A100-80GB-SXM"  # has the most measurements, so it stands in for a device without any

# The arithmetic peak is never reached: this share of it was reached by a real run.
COMPUTE_USE = 0.33
COMPUTE_SOURCE = (
    "33% of peak: Llama-3.1-8B training without compilation on H100, torchtitan benchmarks"
)

# The representative device of each class that `constraints.device` may name. `gpu` alone is the
# more modest consumer card, and `edge` is the small Jetson, so that a class promises no more than
# most of its devices can do.
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
    """One row of the table, in base units a device; None where there is no figure.

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
        number: How many such devices share the model.
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
        """Bytes that weights, cache and activations may take on all devices together."""
        return None if self.memory is None else round(self.number * self.memory * self.usable)


def table(desk: Desk) -> dict[str, Device]:
    """Return every device by its name."""
    return _parsed(desk.source(TABLE))


@cache
def _parsed(data: bytes) -> dict[str, Device]:
    rows = csv.DictReader(data.decode().splitlines())
    return {row["device"]: _device(row) for row in rows}


def target(desk: Desk) -> Device | None:
    """Return the device that the spec declares, by name, number or class, or None."""
    declared = desk.key("constraints.device")
    if not declared:
        return None
    number, name = counted(declared)
    device = named(desk, CLASSES.get(name, name))
    return device and replace(device, number=number)


def named(desk: Desk, name: str) -> Device | None:
    """Return the device of a name, or the first whose name starts with it, such as `A100`."""
    known = table(desk)
    return known.get(matching(name, known))


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


@dataclass(frozen=True)
class Share:
    """The share of the memory bandwidth that decoding reaches, and its source."""

    value: float
    source: str


@dataclass(frozen=True)
class Roofline:
    """A device, alone or with others, and the shares of its peaks that real work reaches.

    Attributes:
        device: The device.
        shares: Share of the bandwidth by the bits of a weight.
    """

    device: Device
    shares: dict[int, Share]

    @property
    def compute_use(self) -> float:
        """Share of the arithmetic peak; 1 for a speed that was itself measured."""
        return 1.0 if self.device.measured else COMPUTE_USE

    @property
    def compute_source(self) -> str:
        """The source of that share, as the start of a list of sources."""
        return "" if self.device.measured else f"{COMPUTE_SOURCE}; "

    def arithmetic(self, work: Cost) -> float:
        """Return the seconds of the operations; 0 where no speed is known."""
        peak = self.device.number * (self.device.flops or 0) * self.compute_use
        return work.flops / peak if peak else 0.0

    def traffic(self, work: Cost, weight_bits: int) -> float:
        """Return the seconds of the reads from memory."""
        peak = self.device.number * self.device.bandwidth
        return work.bytes / (peak * self.shares[weight_bits].value)

    def seconds(self, work: Cost, weight_bits: int) -> float:
        """Return the longer of arithmetic and traffic."""
        return max(self.arithmetic(work), self.traffic(work, weight_bits))


def roofline(desk: Desk, device: Device) -> Roofline:
    """Return the roofline of a device from `data/decoding.csv`.

    A device without measurements gets the shares of the usual one. A format without measurements
    gets the share of the next smaller format, which is lower.
    """
    rows = list(csv.DictReader(desk.source(DECODING).decode().splitlines()))
    several = device.number > 1
    alike = [row for row in rows if (int(row["number"]) > 1) == several]
    own = [row for row in alike if row["device"] == device.model]
    used = own or [row for row in alike if row["device"] == USUAL]
    return Roofline(device, {bits: _share(desk, used, bits) for bits in (16, 8, 4)})


def _share(desk: Desk, rows: list[dict[str, str]], bits: int) -> Share:
    """Return the share at a format, or at the widest measured format below it."""
    row = max((r for r in rows if _bits(r) <= bits), key=_bits)
    measured = named(desk, row["device"])
    assert measured is not None
    value = float(row["achieved_gb_s"]) * 1e9 / measured.bandwidth
    source = f"{value:.1%} of bandwidth: {row['device']} with {row['weight_bits']}-bit weights"
    return Share(value, f"{source} ({row['how']}), {row['source']}")


def _bits(row: dict[str, str]) -> int:
    return int(row["weight_bits"])
