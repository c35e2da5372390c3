"""The search from a spec to a design, and all that led to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metagen import families
from metagen.errors import SpecError
from metagen.families.family import Family, Need
from metagen.families.trend import Trend
from metagen.sizing import need, search
from metagen.sizing.need import Goal
from metagen.sizing.search import Design
from metagen.sizing.varied import varied
from metagen.work import Desk


@dataclass(frozen=True)
class Found:
    """What a search gave, with all that led to it.

    Attributes:
        family: The family of the model.
        goal: What was searched for.
        need: The size of the goal that was taken.
        trend: What published models near that size look like.
        design: The outcome.
    """

    family: Family
    goal: Goal
    need: Need
    trend: Trend
    design: Design


def sized(desk: Desk) -> Found:
    """Search the architecture that a spec asks for.

    Raises:
        SpecError: No family builds what the spec asks for, or its pinned dimensions cannot be.
    """
    family = families.chosen(desk)
    return searched(family, need.goal(desk, family), desk.source(family.published))


def searched(family: Family, goal: Goal, published: bytes) -> Found:
    """Return the first size whose design keeps the limits, or else the smallest."""
    for wanted in goal.needs:
        trend = family.fit(published, wanted.parameters)
        design = search.search(family, wanted, trend)
        if design.fits:
            break
    return Found(family, goal, wanted, trend, design)


def otherwise(desk: Desk, family: Family, changed: Mapping[str, Any]) -> Found | None:
    """Search what a spec would get with some keys changed; None where its pins allow no model."""
    try:
        wanted = need.goal(varied(desk, changed), family)
        return searched(family, wanted, desk.source(family.published))
    except SpecError:
        return None
