"""The share of a device's arithmetic peak that training reaches: a range of published runs.

A run of `data/shares.csv` has its rate a device and the operations for each unit, with those that
it computes again. Their product over the peak is its share, so a training that recomputes
activations is divided by the same kind of share. What separates the runs is the program as much as
the device, so a kind of model has one range for all devices.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from metagen.entries import csv_rows
from metagen.families.family import Family
from metagen.sizing import devices
from metagen.sizing.devices import Device
from metagen.work import Desk

TABLE = "data/shares.csv"
DECLARED = "training.compute.utilization"


@dataclass(frozen=True)
class Share:
    """The lowest, the median and the highest share, and where they come from.

    `cites` names the bibliography's entries of the runs at both ends.
    """

    low: float
    middle: float
    high: float
    source: str
    cites: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The share in words, such as `0.35 to 0.66 of the peak`."""
        if self.low == self.high:
            return f"{self.middle:.3g} of the peak"
        return f"{self.middle:.2g} ({self.low:.2g} to {self.high:.2g}) of the peak"


def of_training(desk: Desk, family: Family, device: Device) -> Share:
    """Return the share that a spec declares, or else that of the published runs.

    A device whose speed was itself measured reaches all of it.
    """
    declared = desk.key(DECLARED)
    if declared is not None:
        return Share(declared, declared, declared, f"{DECLARED} {declared:g}")
    if device.measured:
        return Share(1.0, 1.0, 1.0, "a measured speed")
    return published(desk, family.arithmetic)


def published(desk: Desk, kind: str) -> Share:
    """Return the share of a kind of models; of all published runs where no kind is named."""
    every = csv_rows(desk.source(TABLE))
    rows = [row for row in every if not kind or row["kind"] == kind]
    shares = sorted((_share(desk, r), r["run"], r["source"], r["cite"]) for r in rows)
    (low, first, source, cite), (high, last, other, also) = shares[0], shares[-1]
    whose = f"training on {kind}" if kind else "training; none of this kind is published"
    words = f"{low:.0%} to {high:.0%} of peak in {len(rows)} published runs of {whose}"
    ends = f"{words}: from {first} ({source}) to {last} ({other})"
    middle = median(share for share, *_ in shares)
    return Share(low, middle, high, f"{TABLE}, {ends}", (cite, also))


def _share(desk: Desk, row: dict[str, str]) -> float:
    peak = devices.table(desk)[row["device"]].flops
    assert peak is not None
    return float(row["units_per_s"]) * float(row["operations_per_unit"]) / peak
