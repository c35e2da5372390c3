"""Shapes of the scaled-down model, and the full design that each of them stands for.

A shape is a set of ratios: the width, the depth and the other figures that a family follows
published models in (`Family.traits`), each beside its value in the package's own design. The
scaled-down model of a shape has the size of the package's own one. The full design of a shape is
the one that the sizing search finds when the ratios that the scaled-down model really has are the
trend: within the budget and the limits of the spec, whatever they leave of these ratios.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from metagen.families.axes import Axis
from metagen.families.demand import Need
from metagen.families.family import Dims, Family, Value
from metagen.families.trend import Line, Trend
from metagen.sizing import search
from metagen.sizing.search import Design, Solution

LEAST_FILL = 0.9  # A scaled-down model with a smaller share of the base's parameters is no rival.
Ratios = Mapping[str, float]  # From a trait to its ratio to the base's.


@dataclass(frozen=True)
class Small:
    """A scaled-down model.

    Attributes:
        dims: The `model` section of its settings.
        ratios: Its traits beside those of the package's own scaled-down model.
    """

    dims: dict[str, Value]
    ratios: dict[str, float]


@dataclass(frozen=True)
class Shapes:
    """The shapes around a package's own design.

    Attributes:
        solution: That design, and what it was searched for.
        base: The dimensions of its scaled-down model.
    """

    solution: Solution
    base: dict[str, Value]

    @property
    def family(self) -> Family:
        """The family of the designs."""
        return self.solution.family

    @cached_property
    def traits(self) -> dict[str, float]:
        """The traits of the scaled-down model that have a ratio, with their values."""
        return _traits(self.family, self.base)

    def small(self, wanted: Ratios, size: float = 1.0, pins: Dims | None = None) -> Small | None:
        """Return the scaled-down model nearest to some ratios; None if the rules allow none.

        Args:
            wanted: The ratios; a trait that is not named keeps its value.
            size: Its parameters, as a share of the base's.
            pins: Dimensions that it must have.
        """
        if not pins and size == 1 and all(ratio == 1 for ratio in wanted.values()):
            return Small(self.base, dict.fromkeys(self.traits, 1.0))
        budget = round(size * self.family.count(self._whole(self.base)))
        centre = {name: value * wanted.get(name, 1.0) for name, value in self.traits.items()}
        trend = self._around(centre)
        kept = {n: v for n, v in self._whole(self.base).items() if n not in self.free}
        need = Need(budget, math.ceil(LEAST_FILL * budget), pins={**kept, **(pins or {})})
        _, best = search.shapes(self.family, need, trend)
        if not best or any(best[0].misses):
            return None
        chosen = best[0].dims
        dims = {name: chosen.get(name, value) for name, value in self.base.items()}
        found = _traits(self.family, chosen)
        return Small(dims, {n: found[n] / value for n, value in self.traits.items() if n in found})

    def full(self, ratios: Ratios, size: float = 1.0, pins: Dims | None = None) -> Design | None:
        """Return the full design of some ratios; None if none meets the budget and the limits.

        Args:
            ratios: Those that a scaled-down model has.
            size: Its budget, as a share of the spec's.
            pins: Dimensions that it must have beside those of the spec.
        """
        own, need = self.solution.design, self.solution.need
        if pins or size != 1 or any(ratio != 1 for ratio in ratios.values()):
            need = self._need(size, pins or {})
            centre = _traits(self.family, own.everything)
            centre = {name: value * ratios.get(name, 1.0) for name, value in centre.items()}
            own = search.search(self.family, need, self._around(centre))
        filled = need.floor <= own.parameters <= need.budget
        return own if filled and own.fits else None

    def pins(self, design: Design, changes: Dims) -> dict[str, Value]:
        """Return the dimensions that lead the sizing search of the spec to a design.

        They are those that shapes are made of, and what else it would choose in another way.
        """
        own, need = self.solution.design, self.solution.need
        if design.dims == own.dims:
            return {}
        axes = self.family.axes(need, self.solution.trend)
        named = {axis.name for axis in axes if axis.grid or axis.fills} | {*changes}
        pins = {n: v for n, v in design.dims.items() if n in named - {*need.pins}}
        pinned = replace(need, pins={**need.pins, **pins})
        found = search.search(self.family, pinned, self.solution.trend)
        return pins | {n: v for n, v in design.dims.items() if found.dims.get(n) != v}

    def _need(self, size: float, pins: Dims) -> Need:
        need = self.solution.need
        budget = round(size * need.budget)
        return replace(
            need,
            budget=budget,
            floor=min(budget, math.ceil(size * need.floor)),
            pins={**need.pins, **pins},
        )

    def _around(self, centre: Mapping[str, float]) -> Trend:
        """Return the trend with level lines through some traits."""
        trend = self.solution.trend
        lines = {name: _level(trend.lines[name], value) for name, value in centre.items()}
        return replace(trend, lines={**trend.lines, **lines})

    def _whole(self, dims: Dims) -> dict[str, Value]:
        """Return dimensions with the formats, which a scaled-down model has like the full one."""
        return {**dims, **self.solution.design.formats}

    @cached_property
    def free(self) -> frozenset[str]:
        """The dimensions of the scaled-down model that a shape changes.

        They span the grid, fill the budget, or follow: their only choice is what the base has.
        """
        base, pinned = self._whole(self.base), self.solution.need.pins
        budget = self.family.count(base)
        need = Need(budget, budget, pins=base)
        axes = self.family.axes(need, self._around(self.traits))
        fixed = {*self.family.task.proxy, *self.family.constants, *pinned}
        names = [axis.name for axis in axes if axis.name not in fixed]
        return frozenset(n for n in names if _changes(axes, n, base))


def _changes(axes: tuple[Axis, ...], name: str, base: Dims) -> bool:
    place = [axis.name for axis in axes].index(name)
    axis = axes[place]
    if axis.grid or axis.fills:
        return True
    before = {each.name: base[each.name] for each in axes[:place] if each.name in base}
    return axis.price is None and list(axis.choices(before)) == [base.get(name)]


def _traits(family: Family, dims: Dims) -> dict[str, float]:
    """Return the traits of a design that are above 0, which alone have a logarithm."""
    values = {}
    for name, trait in family.traits.items():
        try:
            values[name] = trait.of(dims)
        except ZeroDivisionError:  # a ratio to a part that the design does not have
            continue
    return {name: value for name, value in values.items() if value > 0}


def _level(line: Line, value: float) -> Line:
    return replace(line, slope=0.0, intercept=math.log(value))
