"""One entry of constraints.json: what is required, what was computed, and the arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Entry = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What a spec requires.

    Attributes:
        shown: The value as it is shown; None where nothing is declared.
        limit: The value to compare with; None where it sets no limit.
        at_least: Whether more is better.
    """

    shown: Any = None
    limit: float | None = None
    at_least: bool = False

    def verdict(self, computed: float | None) -> tuple[str, float | None]:
        """Return the verdict and the share of the requirement that is left."""
        if self.shown is None or computed is None:
            return "not declared", None
        if self.limit is None:
            return "met", None
        room = computed - self.limit if self.at_least else self.limit - computed
        return ("met" if room >= 0 else "violated"), room / self.limit


def entry(
    name: str,
    computed: float | None,
    unit: str,
    formula: str,
    source: str,
    asked: Asked = Asked(),
    nearest: str | None = None,
) -> Entry:
    """Return one entry; `nearest` says what would keep a constraint that is violated."""
    verdict, margin = asked.verdict(computed)
    return {
        "constraint": name,
        "required": asked.shown,
        "computed": computed,
        "unit": unit,
        "formula": formula,
        "source": source,
        "verdict": verdict,
        "margin": margin,
        "nearest": nearest if verdict == "violated" else None,
    }


def unknown(name: str, required: Any, unit: str, reason: str) -> Entry:
    """Return an entry for what cannot be computed, with the reason in place of a formula."""
    return entry(name, None, unit, reason, "the spec", Asked(required))
