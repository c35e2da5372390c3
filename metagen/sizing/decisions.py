"""Why a design is as it is: each dimension, format and limit with the figures that decided it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from metagen.families.family import Axis, Dims, Limit
from metagen.sizing import search
from metagen.sizing.found import Found

TOO_MANY = ", as every candidate has too many parameters"


def decisions(found: Found) -> list[dict[str, Any]]:
    """Return each dimension, format and limit with its value and the reason for it."""
    everything = found.design.everything
    reasons = {**found.family.reasons(everything, found.need, found.trend), **_pulled(found)}
    reasons |= _least(found, reasons)
    pinned = found.need.pins.keys() - found.need.fixed.keys()
    reasons |= dict.fromkeys(pinned, "pinned by architecture.dims")
    chosen = [
        {"name": name, "value": value, "reason": reasons[name]}
        for name, value in everything.items()
    ]
    return [_size(found), *chosen, *map(_kept(found), found.need.limits)]


def _size(found: Found) -> dict[str, Any]:
    wanted, design = found.need, found.design
    used = f"{design.parameters / wanted.parameters:.2%} of {wanted.parameters:,} are used"
    said = f"{used}, the best of {design.candidates:,} candidates"
    if design.parameters > wanted.parameters:
        said = f"the fewest of {design.candidates:,} candidates, none of which is within it"
    reason = f"{found.goal.reason}; {said}"
    return {"name": "parameters", "value": design.parameters, "reason": reason}


def _least(found: Found, reasons: Mapping[str, str]) -> dict[str, str]:
    """Return why dimensions are so small, where no candidate is within the parameter count."""
    if found.design.parameters <= found.need.parameters:
        return {}
    axes = found.family.axes(found.need, found.trend)
    free = [each for each in axes if each.name not in found.need.pins]
    said = {a.name: f"the least beside the others{TOO_MANY}" for a in free if a.fills}
    grid = {axis.name: _smallest(found, axes, axis.name) for axis in free if axis.grid}
    return said | {name: f"{reasons[name]}; {why}" for name, why in grid.items() if why}


def _smallest(found: Found, axes: tuple[Axis, ...], name: str) -> str:
    """Return that a dimension has the least of the values tried; "" where it does not."""
    dims, place = found.design.everything, [axis.name for axis in axes].index(name)
    before = {each.name: dims[each.name] for each in axes[:place] if each.name in dims}
    tried = [value for value in axes[place].choices(before) if value is not None]
    if dims[name] > min(tried):
        return ""
    return (
        f"the least of {len(tried)} tried{TOO_MANY}"
        if len(tried) > 1
        else "no other value is tried"
    )


def _pulled(found: Found) -> dict[str, str]:
    """Return why each lever left its plain value: what the plain one would need, and what is."""
    everything, axes = found.design.everything, found.family.axes(found.need, found.trend)
    reasons = {}
    for axis in (each for each in axes if each.price and each.name not in found.need.pins):
        plain = search.put_back(axes, everything, found.need.pins, axis.name)
        if plain.get(axis.name) != everything.get(axis.name):
            reasons[axis.name] = _pull(axis, found, plain)
    return reasons


def _pull(axis: Axis, found: Found, plain: Dims) -> str:
    assert axis.words is not None
    chosen, otherwise = axis.words(found.design.everything), axis.words(plain)
    tokens = found.family.context(plain)
    if tokens != found.family.context(found.design.everything):
        return f"{chosen}: {otherwise} would leave room for {tokens:,} tokens"
    load, now = found.family.load(plain), found.design.load
    broken = [limit for limit in found.need.limits if limit.excess(load)]
    if not broken:
        return f"{chosen}, which goes with the other levers; {otherwise} keeps each limit by itself"
    worst = max(broken, key=lambda limit: limit.excess(load) - limit.excess(now))
    return f"{chosen}: {otherwise} would mean {worst.said(load)}; {worst.source}"


def _kept(found: Found) -> Callable[[Limit], dict[str, Any]]:
    """Return what writes a limit of the search, with its figures."""
    load = found.design.load

    def entry(limit: Limit) -> dict[str, Any]:
        verdict = "exceeded, and no candidate keeps all limits" if limit.excess(load) else "kept"
        reason = f"{limit.said(load)}; {limit.source}: {verdict}"
        return {"name": limit.constraint, "value": limit.figure(limit.used(load)), "reason": reason}

    return entry
