"""From a spec to its package: which recipes fill a run folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from metagen import families, files, measure, paths
from metagen.docs import RECIPES as DOCS
from metagen.engine import manifest
from metagen.engine.package import Package
from metagen.errors import Problem, SpecError, UsageError
from metagen.families.family import Family
from metagen.package import recipes as code_recipes
from metagen.sizing import RECIPES as BLUEPRINT
from metagen.sizing import limits, need
from metagen.spec import Spec, load
from metagen.work import Desk, Recipe

# Documents that `outputs.artifacts` asks for, by the start of a recipe's name. All else is always
# made: every number in a document is measured on the code.
ASKED_BY = {
    "docs:model_card": {"model_card"},
    "docs:data_card": {"model_card", "data_card"},
    "docs:eval_report": {"benchmark_report", "eval_report"},
    "paper:": {"paper"},
}
RESOLVED = "spec_resolved.yaml"
PDF = "paper:pdf"  # asked for by itself, since it needs a TeX installation


def package(spec: Spec, run_id: str | None = None) -> Package:
    """Return the package of a spec; its run folder is named by `run_id`, else by the spec.

    Raises:
        SpecError: No family builds it, or a dimension is pinned that the family does not have.
    """
    family = _family(spec)
    warnings = (*spec.warnings, *_unknown_components(spec, family))
    made = (*code_recipes(family), *measure.recipes(family))
    everything = (_resolved(spec), *BLUEPRINT, *made, *DOCS)
    recipes = tuple(r for r in everything if _is_asked(r, spec.key("outputs.artifacts")))
    name = paths.slug(run_id if run_id is not None else spec.key("name"))
    return Package(spec, f"run-{name}", (*recipes, manifest.recipe(whole(recipes))), warnings)


def whole(recipes: Iterable[Recipe]) -> tuple[Recipe, ...]:
    """Return the recipes that make up a whole package: all but the PDF's."""
    return tuple(recipe for recipe in recipes if recipe.name != PDF)


def _family(spec: Spec) -> Family:
    """Return the family of a spec; refuse what none builds before anything is written."""
    try:
        family = families.load(families.FAMILIES[families.route(spec.key)])
        need.pins(spec.key, family)
        limits.rate(spec.key, family)
    except SpecError as error:
        raise SpecError(replace(p, place=_place(spec, p.place)) for p in error.problems) from None
    return family


def _unknown_components(spec: Spec, family: Family) -> list[Problem]:
    """Return the components that the family does not have, which may be a mistake."""
    unknown = families.unknown_components(family, spec.key("architecture.components"))
    known = ", ".join(sorted(family.component_types))
    return [
        Problem(
            f"the {family.name} family has no component {name}; it is left out",
            _place(spec, "architecture.components"),
            f"known types: {known}",
        )
        for name in unknown
    ]


def _place(spec: Spec, name: str) -> str:
    """Return where a key, or the one that it is a part of, stands in the file."""
    keys = [key for key in spec.keys() if name == key or name.startswith(f"{key}.")]  # noqa: SIM118
    return spec.source(keys[0]) if keys else name


def packages(
    specs: Iterable[Path], overrides: Sequence[str] = (), run_id: str | None = None
) -> list[Package]:
    """Return the packages of some spec files.

    Raises:
        SpecError: A spec is not right.
        UsageError: Two of them would fill one folder.
    """
    found = [package(load(path, overrides), run_id) for path in specs]
    seen: dict[str, Package] = {}
    for one in found:
        other = seen.setdefault(one.run, one)
        if other is not one:
            sentence = f"{other.spec.path} and {one.spec.path} would both be built in {one.run}."
            raise UsageError(Problem(sentence, hint="Give one of them another name."))
    return found


def _is_asked(recipe: Recipe, artifacts: Iterable[str]) -> bool:
    askers = [who for start, who in ASKED_BY.items() if recipe.name.startswith(start)]
    return not askers or any(who & set(artifacts) for who in askers)


def _resolved(spec: Spec) -> Recipe:
    keys = tuple(spec.keys())

    def work(desk: Desk) -> dict[str, bytes]:
        tree: dict[str, object] = {}
        for key in keys:
            *parents, leaf = key.split(".")
            branch = tree
            for parent in parents:
                branch = branch.setdefault(parent, {})  # type: ignore[assignment]
            branch[leaf] = desk.key(key)
        return {RESOLVED: files.yaml_bytes(tree)}

    return Recipe("spec:resolved", work, (), (RESOLVED,), "write the spec with its defaults")
