"""How long a device takes, by a roofline (Williams et al., 2009, doi:10.1145/1498765.1498785).

A piece of work takes the longer of its arithmetic and its memory traffic, each at the share of the
device's peak that somebody measured on real runs. These are estimates for batch 1. Several devices
share weights and cache evenly; what their links cost is in the share that was measured on eight.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass

from metagen.families.family import Work
from metagen.sizing.devices import Device, by_prefix
from metagen.work import Desk

DECODING = "data/decoding.csv"
USUAL = "A100-80GB-SXM"  # where most is measured; stands in for a device that nobody measured

# Share of the arithmetic peak that a real run reached.
COMPUTE_USE = 0.33
COMPUTE_SOURCE = (
    "33% of peak: Llama-3.1-8B training without compilation on H100, torchtitan benchmarks"
)


@dataclass(frozen=True)
class Share:
    """The share of the memory bandwidth that decoding reaches, and who measured it."""

    value: float
    source: str


@dataclass(frozen=True)
class Roofline:
    """A device, alone or with others, and how much of its peaks real work reaches.

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
        """Who measured that share."""
        return "" if self.device.measured else f"{COMPUTE_SOURCE}; "

    def arithmetic(self, work: Work) -> float:
        """Return the seconds of the operations; 0 where no speed is known."""
        peak = self.device.number * (self.device.flops or 0) * self.compute_use
        return work.flops / peak if peak else 0.0

    def traffic(self, work: Work, weight_bits: int) -> float:
        """Return the seconds of the reads from memory."""
        peak = self.device.number * self.device.bandwidth
        return work.bytes / (peak * self.shares[weight_bits].value)

    def seconds(self, work: Work, weight_bits: int) -> float:
        """Return the longer of arithmetic and traffic."""
        return max(self.arithmetic(work), self.traffic(work, weight_bits))


def of(desk: Desk, device: Device) -> Roofline:
    """Return the roofline of a device from `data/decoding.csv`.

    Where nobody measured the device, the shares are those of the usual one; where nobody measured
    a format, the share is that of the next smaller one, which is lower.
    """
    rows = list(csv.DictReader(desk.source(DECODING).decode().splitlines()))
    several = device.number > 1
    alike = [row for row in rows if (int(row["number"]) > 1) == several]
    own = [row for row in alike if row["device"] == device.model]
    used = own or [row for row in alike if row["device"] == USUAL]
    return Roofline(device, {bits: _share(desk, used, bits) for bits in (16, 8, 4)})


def _share(desk: Desk, rows: list[dict[str, str]], bits: int) -> Share:
    """Return the share at a format, or at the widest that is measured below it."""
    row = max((r for r in rows if _bits(r) <= bits), key=_bits)
    measured = by_prefix(desk, row["device"])
    assert measured is not None
    value = float(row["achieved_gb_s"]) * 1e9 / measured.bandwidth
    source = f"{value:.1%} of bandwidth: {row['device']} with {row['weight_bits']}-bit weights"
    return Share(value, f"{source} ({row['how']}), {row['source']}")


def _bits(row: dict[str, str]) -> int:
    return int(row["weight_bits"])
