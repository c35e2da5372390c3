"""What a property counted, where it was violated, and the headline of several together."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_SHOWN = 20  # violations printed of each property


@dataclass
class Tally:
    """Counts of one property; a violation is a count that must be 0, listed with its case.

    Attributes:
        name: The property.
        counts: What was counted; the kinds of violations that can occur are among them.
        violations: (kind, case) of each violation.
    """

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[tuple[str, str]] = field(default_factory=list)

    def count(self, what: str, number: int = 1) -> None:
        """Count something that was done or seen."""
        self.counts[what] += number

    def must_not(self, *kinds: str) -> None:
        """Name kinds of violations, so that their zeros are printed."""
        for kind in kinds:
            self.counts[kind] += 0

    def violated(self, kind: str, case: str) -> None:
        """Note a violation."""
        self.counts[kind] += 1
        self.violations.append((kind, case))

    def check(self, holds: bool, kind: str, case: str) -> bool:
        """Note a violation unless a condition holds; return the condition."""
        self.must_not(kind)
        if not holds:
            self.violated(kind, case)
        return holds

    def add(self, other: Tally) -> None:
        """Take over what another tally of the same property has."""
        self.counts.update(other.counts)
        for kind in other.counts:
            self.counts[kind] += 0
        self.violations += other.violations

    def share(self, part: str, whole: str) -> float:
        """Return the share of one count in another, in percent."""
        return 100 * self.counts[part] / self.counts[whole] if self.counts[whole] else 0.0

    def text(self) -> str:
        """Return the counts on a line, and the violations below."""
        head = f"{self.name:<12} " + ", ".join(f"{n:,} {what}" for what, n in self.counts.items())
        shown = [f"    {kind}: {case}" for kind, case in self.violations[:_SHOWN]]
        rest = len(self.violations) - _SHOWN
        return "\n".join([head, *shown, *([f"    and {rest} more"] if rest > 0 else [])])

    def json(self) -> str:
        """Return the same as one line of JSON."""
        content: dict[str, Any] = {"property": self.name, "counts": self.counts}
        return json.dumps(content | {"violations": self.violations})


def headline(tallies: Mapping[str, Tally], specs: int) -> str:
    """Return the one line that says what was measured, and nothing that was not."""
    parts = []
    if "leaf" in tallies:
        parts.append(_leaves(tallies, specs))
    if "crash" in tallies:
        crash = tallies["crash"].counts
        parts.append(f"{crash['kills']:,} kills: {crash['stale']} stale, {crash['stuck']} stuck")
    return "; ".join(parts) + "." if parts else ""


def _leaves(tallies: Mapping[str, Tally], specs: int) -> str:
    leaf = tallies["leaf"]
    counts = leaf.counts
    waste = f"waste {leaf.share('same bytes', 'runs'):.1f} %"
    text = f"{counts['keys']:,} leaf keys in {specs} specs: {counts['stale']} stale, "
    text += f"{counts['orphans']} orphans, {waste}"
    if "plan" in tallies:
        wrong = tallies["plan"].counts["inexact"]
        text += f", plan {'exact' if not wrong else f'inexact {wrong} times'}"
    return text
