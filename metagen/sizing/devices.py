"""The devices that a model may run on, and how long they take for a piece of work.

Their figures and sources are in `data/devices.csv`. Times follow a roofline (Williams et al.,
2009, doi:10.1145/1498765.1498785): a piece of work takes the longest of its arithmetic, its memory
traffic, each at the share of the device's peak that was measured on real runs, and the launches of
its operations. Each share is a range, so a time is one too. Several devices share weights and cache
evenly; the share that was measured on eight devices includes the cost of their links.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from functools import cache

from metagen.entries import csv_rows
from metagen.families.demand import Cost, Demand
from metagen.families.family import Dims, Family
from metagen.spec.words import matching
from metagen.units import counted
from metagen.work import Desk

TABLE = "data/devices.csv"
DECODING = "data/decoding.csv"  # bytes a second that decoding reached
PASSES = "data/passes.csv"  # operations a second that passes over a model reached
LAUNCHES = "data/launches.csv"  # time that starting an operation takes
PROGRAM = "gpt-fast"  # has the products of PyTorch that infer.py runs
# A GPU that runs an 8-bit product without compilation first writes the weights in 16 bits: for each
# weight one byte is read, two are written and two are read.
UNPACKING = 5

# Words in the names of cards that share a chip with a device of the table, and have less power.
_OTHER_FORMS = frozenset(("PCIE", "NVL", "LAPTOP", "MOBILE", "MIG", "MAX"))

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
        sources: Where the figures come from.
        cite: Its entry in the bibliography.
        number: How many such devices share the model.
    """

    model: str
    flops: float | None
    flops_format: str
    bandwidth: float
    memory: float | None
    usable: float
    power: float | None
    sources: str
    cite: str
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
    return {row["device"]: _device(row) for row in csv_rows(data)}


def target(desk: Desk) -> Device | None:
    """Return the device that the spec declares, by name, number or class, or None."""
    declared = desk.key("constraints.device")
    if not declared:
        return None
    number, name = counted(declared)
    device = by_prefix(desk, CLASSES.get(name, name))
    return device and replace(device, number=number)


def by_prefix(desk: Desk, name: str) -> Device | None:
    """Return the device of a name, or the first whose name starts with it, such as `A100`."""
    known = table(desk)
    return known.get(matching(name, known))


def by_driver(desk: Desk, name: str) -> Device | None:
    """Return the device of a driver's name, such as `NVIDIA H100 80GB HBM3`; None if unknown.

    Cards of other forms, such as PCIe, differ in power and speed, and are unknown.
    """
    words = set(re.findall(r"\w+", name.upper()))
    if words & _OTHER_FORMS:
        return None
    known = {model: set(re.findall(r"\w+", model.upper())) for model in table(desk)}
    called = [model for model, own in known.items() if own - _memories(own) - {"SXM"} <= words]
    same = [model for model in called if _memories(known[model]) <= words]
    return table(desk)[(same or called)[0]] if called else None


def _memories(words: set[str]) -> set[str]:
    return {word for word in words if re.fullmatch(r"\d+GB", word)}


def _device(row: dict[str, str]) -> Device:
    return Device(
        model=row["device"],
        flops=_scaled(row["planning_tflops"], 1e12),
        flops_format=row["planning_format"],
        bandwidth=float(row["mem_bandwidth_gb_s"]) * 1e9,
        memory=_scaled(row["memory_gb"], 1e9),
        usable=float(row["usable_memory_fraction_suggested"]),
        power=_scaled(row["power_w"], 1.0),
        sources=row["sources"],
        cite=row["cite"],
    )


def _scaled(text: str, unit: float) -> float | None:
    return float(text) * unit if text else None


@dataclass(frozen=True)
class Share:
    """The share of a peak that real work reaches: a range, with its sources.

    Attributes:
        value: The share to plan with: that of the device itself where it was measured, or else the
            middle of the range.
        low: The lowest that was measured on work of this kind.
        high: The highest.
        source: The measurements at both ends, each with its program.
        cites: Their entries in the bibliography.
    """

    value: float
    low: float
    high: float
    source: str
    cites: tuple[str, ...] = ()


@dataclass(frozen=True)
class Roofline:
    """A device, alone or with others, and the shares of its peaks that real work reaches.

    Attributes:
        device: The devices that work on one model, with their number.
        shares: Shares of the bandwidth by the bits of a weight.
        arithmetic_share: Share of the arithmetic peak.
        launch: Seconds that starting an operation takes at least and at most.
        launch_source: Where these come from.
        launch_cites: Their entries in the bibliography.
        operations: Operations of one call of the model; 0 where they are not counted.
    """

    device: Device
    shares: dict[int, Share]
    arithmetic_share: Share
    launch: tuple[float, float] = (0.0, 0.0)
    launch_source: str = ""
    launch_cites: tuple[str, ...] = ()
    operations: int = 0

    def cites(self, weight_bits: int) -> tuple[str, ...]:
        """Return the bibliography's entries that a time rests on."""
        shares = (self.arithmetic_share, self.shares[weight_bits])
        return (
            *(key for share in shares for key in share.cites),
            *self.launch_cites,
            self.device.cite,
        )

    def arithmetic(self, work: Cost, share: float | None = None) -> float:
        """Return the seconds of the operations; 0 where no speed is known."""
        used = self.arithmetic_share.value if share is None else share
        peak = self.device.number * (self.device.flops or 0) * used
        return work.flops / peak if peak else 0.0

    def traffic(self, work: Cost, weight_bits: int, share: float | None = None) -> float:
        """Return the seconds of the reads from memory."""
        used = self.shares[weight_bits].value if share is None else share
        return work.bytes / (self.device.number * self.device.bandwidth * used)

    def launches(self, work: Cost, cost: float | None = None) -> float:
        """Return the seconds of starting every operation, one after the other."""
        # The ends are far apart, so their geometric mean is planned with.
        each = math.sqrt(math.prod(self.launch)) if cost is None else cost
        return work.calls * self.operations * each

    def seconds(self, work: Cost, weight_bits: int) -> float:
        """Return the time of a piece of work, as planned."""
        return self._together(
            self.arithmetic(work), self.traffic(work, weight_bits), self.launches(work)
        )

    @property
    def together(self) -> str:
        """How the three times make one, in words."""
        cpu = "launches add to the longer of the two others"
        return cpu if self.device.measured else "the longest counts"

    def _together(self, arithmetic: float, traffic: float, launches: float) -> float:
        """Return the longest of the three; a CPU starts an operation and then works on it."""
        work = max(arithmetic, traffic)
        return work + launches if self.device.measured else max(work, launches)

    def interval(self, demand: Demand) -> float:
        """Return the seconds from one output to the next, whichever request it belongs to."""
        return self.seconds(demand.steady, demand.weight_bits) / demand.batch

    def between(self, work: Cost, weight_bits: int) -> tuple[float, float]:
        """Return the shortest and the longest time, from the ends of every range."""
        traffic, arithmetic = self.shares[weight_bits], self.arithmetic_share
        ends = (
            (arithmetic.high, traffic.high, self.launch[0]),
            (arithmetic.low, traffic.low, self.launch[1]),
        )
        low, high = (
            self._together(
                self.arithmetic(work, share),
                self.traffic(work, weight_bits, read),
                self.launches(work, cost),
            )
            for share, read, cost in ends
        )
        return low, high


def shared(device: Device, family: Family, dims: Dims | None = None) -> Device:
    """Return the devices that one model is shared among, as many as divide it equally.

    Without dimensions they are all that the family's infer.py could use.
    """
    sizes = [int(dims[name]) for name in family.divided] if dims else []
    return replace(device, number=math.gcd(device.number, *sizes) if family.divided else 1)


def roofline(desk: Desk, device: Device, family: Family, operations: int = 0) -> Roofline:
    """Return the roofline of the devices that share one model, as `shared` gives them."""
    kind = "gpu" if not device.measured else "cpu"
    launch, source, cites = _launch(desk, kind)
    return Roofline(
        device,
        _traffic_shares(desk, device),
        _arithmetic_share(desk, device, family.arithmetic),
        launch,
        source,
        cites,
        operations,
    )


Rows = list[dict[str, str]]


def _launch(desk: Desk, kind: str) -> tuple[tuple[float, float], str, tuple[str, ...]]:
    """Return the least and the most seconds of starting an operation, with their sources."""
    rows = [row for row in csv_rows(desk.source(LAUNCHES)) if row["kind"] in ("any", kind)]
    ends = [pick(rows, key=lambda row: float(row["microseconds"])) for pick in (min, max)]
    low, high = (float(row["microseconds"]) * 1e-6 for row in ends)
    source = "; ".join(
        f"{r['microseconds']} µs an operation: {r['how']}, {r['source']}" for r in ends
    )
    return (low, high), source, tuple(row["cite"] for row in ends if row["cite"])


def _traffic_shares(desk: Desk, device: Device) -> dict[int, Share]:
    """Return the shares of the bandwidth from `data/decoding.csv`.

    The range is that of the device's own rows and of those whose program has the kernels that
    infer.py runs; a device without rows of its own gets the range of all. A format without
    measurements gets the rows of the next smaller format, which are lower.
    """
    several = device.number > 1
    rows = [r for r in csv_rows(desk.source(DECODING)) if (int(r["number"]) > 1) == several]
    own = [row for row in rows if row["device"] == device.model]
    ours = [row for row in rows if row["program"] == PROGRAM]
    used = own if any(row in ours for row in own) else [*own, *ours] if own else rows
    return {bits: _traffic_share(desk, device, used, bits) for bits in (16, 8, 4)}


def _unpacked(share: Share) -> Share:
    """Return the share of a GPU at 8 bits, down to that of a product without compilation."""
    words = f"; without compilation {UNPACKING} bytes pass for each weight, so down to a fifth"
    return replace(share, low=share.low / UNPACKING, source=share.source + words)


def _traffic_share(desk: Desk, device: Device, rows: Rows, bits: int) -> Share:
    """Return the share at a format, each device and program at its widest format up to it."""
    widest: dict[tuple[str, str], dict[str, str]] = {}
    for row in sorted((r for r in rows if _bits(r) <= bits), key=_bits):
        widest[row["device"], row["program"]] = row
    share = _range(
        device,
        [
            (
                row["device"],
                float(row["achieved_gb_s"]) * 1e9 / _known(desk, row).bandwidth,
                f"of bandwidth: {row['device']} with {row['weight_bits']}-bit weights "
                f"({row['how']}, {row['program']}), {row['source']}",
                row["cite"],
            )
            for row in widest.values()
        ],
    )
    return _unpacked(share) if bits == 8 and not device.measured else share


def _arithmetic_share(desk: Desk, device: Device, kind: str) -> Share:
    """Return the share of the arithmetic peak from `data/passes.csv`.

    The range is that of the device's rows of this kind; where none of them is of PyTorch and one
    input at a time, such rows of other devices of its class are added, or all of the class if
    there are none. A kind without rows has those of matrix products.
    """
    rows = [r for r in csv_rows(desk.source(PASSES)) if _known(desk, r).measured == device.measured]
    matrices = [row for row in rows if row["kind"] != "convolutions"]
    same = [row for row in rows if row["kind"] == kind] or matrices
    own = [row for row in same if row["device"] == device.model]
    ours = [row for row in same if row["batch"] == "1" and row["program"].startswith("PyTorch")]
    used = own if any(row in ours for row in own) else [*own, *ours] if own else same
    return _range(
        device,
        [
            (
                row["device"],
                float(row["achieved_tflops"]) * 1e12 / (_known(desk, row).flops or 1.0),
                f"of {'the planned speed' if device.measured else 'peak'}: {row['run']} on "
                f"{row['device']} at batch {row['batch']} ({row['program']}), {row['source']}",
                row["cite"],
            )
            for row in used
        ],
    )


def _known(desk: Desk, row: dict[str, str]) -> Device:
    return table(desk)[row["device"]]


def _range(device: Device, measured: list[tuple[str, float, str, str]]) -> Share:
    """Return the range of some measurements, each with its device; sources of its ends."""
    ordered = sorted(measured, key=lambda each: each[1])
    own = [share for name, share, _, _ in ordered if name == device.model]
    low, high = ordered[0][1], ordered[-1][1]
    ends = {share: (text, cite) for _, share, text, cite in (ordered[0], ordered[-1])}
    source = "; ".join(f"{share:.1%} {text}" for share, (text, _) in ends.items())
    cites = tuple(dict.fromkeys(cite for _, cite in ends.values()))
    return Share(math.fsum(own) / len(own) if own else (low + high) / 2, low, high, source, cites)


def _bits(row: dict[str, str]) -> int:
    return int(row["weight_bits"])
