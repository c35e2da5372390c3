"""blueprint/architecture.yaml: every dimension and setting, and why it was chosen.

blueprint/ablations.yaml beside it lists single changes of it, exactly counted, and
blueprint/derived.json figures of its shape that follow from the dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from metagen import families
from metagen.families import ablations, effects
from metagen.families.ablations import SECTIONS, Ablation, Sections
from metagen.families.axes import Axis
from metagen.families.demand import Demand, Limit
from metagen.families.family import Dims, Family
from metagen.files import json_bytes, yaml_bytes
from metagen.sizing import search
from metagen.sizing.search import Solution
from metagen.tasks.schedule import DECLARED
from metagen.work import Desk, Recipe

TARGET = "blueprint/architecture.yaml"
ABLATIONS = "blueprint/ablations.yaml"
DERIVED = "blueprint/derived.json"
PINNED = "pinned by architecture.dims"
# The overrun is the reason of the dimensions where not even the smallest candidate fits.
OVERRUN = "because every candidate exceeds the parameter count"


def work(desk: Desk) -> dict[str, bytes]:
    """Choose the family, search its dimensions and write the settings of every code file.

    Raises:
        SpecError: No family builds the spec, or its pinned dimensions cannot be built.
    """
    solution = search.solution(desk)
    family, design = solution.family, solution.design
    proxy = family.proxy(design.dims)
    full = {"model": design.dims, **family.sections(design.everything, desk.key, reduced=False)}
    architecture: dict[str, Any] = {
        "family": family.name,
        **full,
        "proxy": {"model": proxy, **family.sections(proxy, desk.key, reduced=True)},
        "decisions": [
            *evident(desk, decisions(solution)),
            *evident(desk, _settings(desk, family, full, design.parameters)),
            *_unused(desk, family),
        ],
    }
    return {TARGET: yaml_bytes(architecture)}


def evident(desk: Desk, decided: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield decisions, with the evidence of a search for those that the spec declares."""
    evidence = desk.key("architecture.search") or {}
    for each in decided:
        found = evidence.get(each["name"].removeprefix("train."))
        yield {**each, "reason": found} if found and each["reason"] in (PINNED, DECLARED) else each


def _settings(
    desk: Desk, family: Family, full: dict[str, Any], parameters: int
) -> list[dict[str, Any]]:
    reasons = family.setting_reasons(full, parameters, desk.key)
    values = {f"{s}.{name}": v for s, fields in full.items() for name, v in fields.items()}
    return [{"name": n, "value": values[n], "reason": reason} for n, reason in reasons.items()]


def _unused(desk: Desk, family: Family) -> Iterator[dict[str, Any]]:
    """Yield what the spec declares and this family's package does not follow."""
    for name, reason, _ in effects.unused(family, desk.key):
        value = desk.key(name)
        shown = list(value) if isinstance(value, tuple) else value
        yield {"name": name, "value": shown, "reason": f"{effects.UNUSED}{reason}"}


def decisions(solution: Solution) -> list[dict[str, Any]]:
    """Return each dimension and format with its value and the reason for it."""
    everything, need = solution.design.everything, solution.need
    reasons = {**solution.family.reasons(everything, need, solution.trend), **_levers(solution)}
    reasons |= _smallest(solution, reasons)
    reasons |= dict.fromkeys(need.pins.keys() - need.fixed.keys(), PINNED)
    chosen = [
        {"name": name, "value": value, "reason": reasons[name]}
        for name, value in everything.items()
    ]
    left_out = [
        {"name": name, "value": need.pins[name], "reason": f"{PINNED}: {full}"}
        for name, full in solution.family.left_out.items()
        if name in need.pins and name not in everything
    ]
    return [_size(solution), *chosen, *left_out]


def limits(solution: Solution) -> list[dict[str, Any]]:
    """Return what the search estimates of each limit; verdicts are about the measured model."""
    return [_limit(each, solution.design.demand) for each in solution.need.limits]


def _size(solution: Solution) -> dict[str, Any]:
    need, design = solution.need, solution.design
    used = f"{design.parameters / need.budget:.2%} of {need.budget:,} are used"
    result = f"{used}, the best of {design.candidates:,} candidates"
    if design.parameters > need.budget:
        result = f"the smallest of {design.candidates:,} candidates, all of which exceed it"
    return {
        "name": "parameters",
        "value": design.parameters,
        "reason": f"{need.reason}; {result}",
    }


def _smallest(solution: Solution, reasons: Mapping[str, str]) -> dict[str, str]:
    """Return why dimensions are so small, where no candidate is within the budget."""
    need = solution.need
    if solution.design.parameters <= need.budget:
        return {}
    axes = solution.family.axes(need, solution.trend)
    free = [each for each in axes if each.name not in need.pins]
    fill = f"the smallest value that the other dimensions allow, {OVERRUN}"
    tried = {axis.name: _tried(solution, axes, axis.name) for axis in free if axis.grid}
    return {axis.name: fill for axis in free if axis.fills} | {
        name: f"{reasons[name]}; {why}" for name, why in tried.items() if why
    }


def _tried(solution: Solution, axes: tuple[Axis, ...], name: str) -> str:
    """Return that a dimension has the smallest of the values tried; "" where it does not."""
    dims, place = solution.design.everything, [axis.name for axis in axes].index(name)
    before = {each.name: dims[each.name] for each in axes[:place] if each.name in dims}
    tried = [value for value in axes[place].choices(before) if value is not None]
    if dims[name] > min(tried):
        return ""
    many = len(tried) > 1
    return f"the smallest of {len(tried)} tried, {OVERRUN}" if many else "no other value is tried"


def _levers(solution: Solution) -> dict[str, str]:
    """Return why each lever left its plain value."""
    everything, need = solution.design.everything, solution.need
    axes = solution.family.axes(need, solution.trend)
    reasons = {}
    for axis in (each for each in axes if each.price and each.name not in need.pins):
        plain = search.put_back(axes, everything, need.pins, axis.name)
        if plain.get(axis.name) != everything.get(axis.name):
            assert axis.words is not None
            cause = _cause(solution, plain)
            reasons[axis.name] = cause.sentence(axis.words(everything), axis.words(plain))
    return reasons


@dataclass(frozen=True)
class _LongerWindow:
    """The lever was pulled because its plain value leaves room for another window."""

    tokens: int

    def sentence(self, chosen: str, plain: str) -> str:
        return f"{chosen}: {plain} would leave room for {self.tokens:,} tokens"


@dataclass(frozen=True)
class _ViolatedLimit:
    """The lever was pulled because its plain value would violate a limit."""

    limit: Limit
    demand: Demand

    def sentence(self, chosen: str, plain: str) -> str:
        return f"{chosen}: {plain} would mean {self.limit.text(self.demand)}; {self.limit.source}"


@dataclass(frozen=True)
class _OtherLevers:
    """The lever was pulled along with others, and is not needed beside them."""

    def sentence(self, chosen: str, plain: str) -> str:
        return (
            f"{chosen}, together with the other levers; beside them, {plain} meets each limit too"
        )


def _cause(solution: Solution, plain: Dims) -> _LongerWindow | _ViolatedLimit | _OtherLevers:
    """Return why a design is better than the one with a lever at its plain value."""
    family, design = solution.family, solution.design
    tokens = family.context(plain)
    if tokens is not None and tokens != family.context(design.everything):
        return _LongerWindow(tokens)
    demand = family.demand(plain, solution.need.use)
    violated = [limit for limit in solution.need.limits if limit.excess(demand)]
    if not violated:
        return _OtherLevers()
    worst = max(violated, key=lambda limit: limit.excess(demand) - limit.excess(design.demand))
    return _ViolatedLimit(worst, demand)


def _limit(limit: Limit, demand: Demand) -> dict[str, Any]:
    verdict = "exceeded, and no candidate meets all limits" if limit.excess(demand) else "met"
    return {
        "name": limit.constraint,
        "value": limit.figure(limit.used(demand)),
        "reason": f"{limit.text(demand)}; {limit.source}: {verdict}",
    }


def ablated(desk: Desk) -> dict[str, bytes]:
    """List the family's ablations, of the full model and of the proxy, which is what is trained."""
    family = families.of_package(desk)
    full, proxy = (
        {section: desk.entry(families.ARCHITECTURE, *size, section) for section in SECTIONS}
        for size in ((), ("proxy",))
    )
    pairs = zip(*(ablations.of_design(family, each) for each in (full, proxy)), strict=True)
    listed = [
        {"name": one.name, "full": _ablation(family, one, full)}
        | {"proxy": _ablation(family, other, proxy)}
        for one, other in pairs
    ]
    return {ABLATIONS: yaml_bytes(listed)}


def _ablation(family: Family, ablation: Ablation, sections: Sections) -> dict[str, Any]:
    """Return what a change sets and the count that it leaves, or why it cannot be made."""
    if ablation.reason:
        return {"not possible": ablation.reason}
    dims = ablation.apply(sections)[ablations.MODEL]
    return {"change": dict(ablation.change), "parameters": family.count(dims)}


def derived(desk: Desk) -> dict[str, bytes]:
    """Compute the figures of the family's own documents, each with its unit."""
    family = families.of_package(desk)
    infer = {name: desk.entry(families.ARCHITECTURE, "infer", name) for name in family.formats}
    figures = family.figures({**desk.entry(families.ARCHITECTURE, "model"), **infer})
    content = {name: {"value": value, "unit": unit} for name, (value, unit) in figures.items()}
    return {DERIVED: json_bytes(content)}


RECIPES = (
    Recipe("blueprint:architecture", work, (), (TARGET,), "dimensions and settings, with reasons"),
    Recipe(
        "blueprint:ablations",
        ablated,
        (families.ARCHITECTURE,),
        (ABLATIONS,),
        "single changes and their exact sizes",
    ),
    Recipe(
        "blueprint:derived",
        derived,
        (families.ARCHITECTURE,),
        (DERIVED,),
        "figures that follow from the dimensions",
    ),
)
