"""The tasks of one package: which recipes a spec asks for, and how they depend on each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from metagen import families, files, measure, paths, release, trained
from metagen.docs import RECIPES as DOCS
from metagen.docs import latex, licenses, provenance, report
from metagen.docs.figures import OF_ABLATIONS, OF_THE_TRAINED
from metagen.engine.binding import NOTHING, Binding, all_in, must_be_known
from metagen.errors import Problem, SpecError, TaskError, UsageError
from metagen.families import ablations, effects
from metagen.families.family import Family
from metagen.filing import RECIPES as RECORDS
from metagen.filing import crate
from metagen.package import recipes as code_recipes
from metagen.sizing import RECIPES as BLUEPRINT
from metagen.sizing import explain, need, search
from metagen.spec import Spec, load
from metagen.work import Desk, Recipe

if TYPE_CHECKING:
    from metagen.engine.desk import TracingDesk

RESOLVED = "spec_resolved.yaml"
MANIFEST = "manifest.json"
RELEASE = "release"  # The folder of what goes to the Hub.
# The PDF is no part of a whole package: it needs a TeX installation, and has a stage of its own.
_PDF = "paper:pdf"
# By the start of a recipe's name: the values of `outputs.artifacts` that request it. A task that
# is not listed is always requested. Whatever a requested task needs is made too.
_ARTIFACTS = {
    "code:": {"pytorch_skeleton", "training_recipe"},
    "measure:memory": {"pytorch_skeleton", "training_recipe"},
    "docs:launch": {"pytorch_skeleton", "training_recipe"},
    "benchmarks:": {"benchmark_report", "eval_report"},
    "docs:eval_report": {"benchmark_report", "eval_report"},
    "docs:figure_": {"model_card", "benchmark_report", "eval_report"},
    "docs:model_card": {"model_card"},
    "docs:data_card": {"model_card", "data_card"},
    "docs:limitations": {"model_card", "limitations"},
    **{
        name: {"model_card"}
        for name in ("docs:bom", "docs:spdx", "docs:croissant", "docs:eu_", "docs:evaluation")
    },
    # The first steps of the model card install what the code requires.
    "code:requirements": {"model_card"},
    "paper:": {"paper"},
    # Made only for what reads them.
    "docs:data_sheets": set(),
    "docs:uses": set(),
}


@dataclass(frozen=True)
class Graph:
    """The tasks of one package.

    Attributes:
        spec: What the tasks read keys of.
        run: The name of the run folder, below the out folder.
        recipes: One for each task.
        warnings: What may be wrong with the spec.
        binding: The training folder and the results that are bound to the package.
    """

    spec: Spec
    run: str
    recipes: tuple[Recipe, ...]
    warnings: tuple[Problem, ...] = ()
    binding: Binding = NOTHING

    @property
    def bound(self) -> bool:
        """Whether a training folder is bound, so that the graph has the tasks of `release/`."""
        return self.binding.trained is not None

    @cached_property
    def maker(self) -> dict[str, Recipe]:
        """The recipe that makes each path."""
        return {target: recipe for recipe in self.recipes for target in recipe.targets}

    def task_name(self, recipe: Recipe) -> str:
        """Return doit's name of a recipe's task, such as `docs:text_llm_8b/model_card`."""
        stage, _, what = recipe.name.partition(":")
        return f"{stage}:{self.run.removeprefix('run-')}/{what}"

    def in_order(self, recipes: Iterable[Recipe]) -> Iterator[Recipe]:
        """Yield some recipes and the makers of their inputs, each after those that it needs."""
        done: set[str] = set()

        def visit(recipe: Recipe) -> Iterator[Recipe]:
            if recipe.name in done:
                return
            done.add(recipe.name)
            for path in recipe.inputs:
                if path not in self.maker:
                    raise TaskError(f"{recipe.name} needs {path}, but no task makes it.")
                yield from visit(self.maker[path])
            yield recipe

        for recipe in recipes:
            yield from visit(recipe)


Bound = Callable[[str], Binding]  # From a run folder's name to what is bound to it.


def known_in(out: Path) -> Bound:
    """Return what the ledger of an out folder has bound to each run.

    The function raises a UsageError for a package that tells of a trained model that the ledger
    does not know.
    """
    bindings = all_in(out)

    def bound(run: str) -> Binding:
        known = bindings.get(run)
        if known is None:
            must_be_known(out, run)
        return known or NOTHING

    return bound


def unbound(run: str) -> Binding:
    """Return that nothing is bound to a run."""
    return NOTHING


def of_spec(spec: Spec, run_id: str | None = None, bound: Bound = unbound) -> Graph:
    """Return the graph of a spec; its run folder is named by `run_id`, else by the spec.

    Raises:
        SpecError: No family builds it, or it pins a dimension that the family does not have.
    """
    family = _family(spec)
    warnings = (*spec.warnings, *_unknown_components(spec, family), *_unused(spec, family))
    run = f"run-{paths.slug(run_id if run_id is not None else spec.key('name'))}"
    binding = bound(run)
    code = (*code_recipes(family), *measure.recipes(family, spec.key))
    figures = _figures(family, spec, binding)
    documents = (*DOCS, *figures, latex.recipe(figures), *licenses.recipes(spec.key))
    documents = (*documents, *_released(family, spec, binding))
    possible = (_resolved(spec), *BLUEPRINT, *code, *trained.recipes(family), *documents, *RECORDS)
    recipes = _requested(Graph(spec, "", possible), spec.key("outputs.artifacts"))
    recipes = (*recipes, *report.recipe(recipes))
    recipes = (*recipes, provenance.recipe(recipes))
    if binding.trained:
        recipes = (*recipes, *release.closing(recipes))
    names = [target for recipe in whole(recipes) for target in recipe.targets]
    made = (*recipes, crate.recipe(names, [MANIFEST]))
    return Graph(spec, run, (*made, _manifest(whole(made))), warnings, binding)


def _figures(family: Family, spec: Spec, binding: Binding) -> tuple[Recipe, ...]:
    """Return the tasks of the figures that only some packages have."""
    of_ablations = OF_ABLATIONS if ablations.selected(family, spec.key) else ()
    return (*of_ablations, *(OF_THE_TRAINED if binding.trained else ()))


def _released(family: Family, spec: Spec, binding: Binding) -> tuple[Recipe, ...]:
    """Return the tasks of `release/`; only a bound package has them."""
    if binding.trained is None:
        return ()
    return release.recipes(family, spec.key, binding.trained, results=bool(binding.results))


def of_files(
    specs: Iterable[Path],
    overrides: Sequence[str] = (),
    run_id: str | None = None,
    bound: Bound = unbound,
) -> list[Graph]:
    """Return the graphs of some spec files; `bound` tells what is bound to a run.

    Raises:
        SpecError: A spec is not right.
        UsageError: Two of them would fill one folder.
    """
    graphs = [of_spec(load(path, overrides), run_id, bound) for path in specs]
    by_run: dict[str, Graph] = {}
    for graph in graphs:
        other = by_run.setdefault(graph.run, graph)
        if other is not graph:
            pair = f"{other.spec.path} and {graph.spec.path}"
            sentence = f"{pair} would both be built in {graph.run}."
            raise UsageError(Problem(sentence, hint="Give one of them another name."))
    return graphs


def of_run(run: Path) -> Graph:
    """Return the graph that filled a run folder, from the resolved spec in it.

    Raises:
        UsageError: The folder is not a run folder.
    """
    resolved, name = run / RESOLVED, run.resolve().name
    if not resolved.is_file() or not name.startswith("run-"):
        raise UsageError(
            Problem("This is not a run folder.", str(run), "Name an OUT/run-... folder.")
        )
    bound = known_in(run.resolve().parent)
    return of_spec(load(resolved), name.removeprefix("run-"), bound)


def whole(recipes: Iterable[Recipe]) -> tuple[Recipe, ...]:
    """Return the recipes of a whole package: all but the PDF's, unless a release has the PDF."""
    every = tuple(recipes)
    read = {path for recipe in every for path in recipe.inputs}
    return tuple(each for each in every if each.name != _PDF or not read.isdisjoint(each.targets))


def _family(spec: Spec) -> Family:
    """Return the family of a spec, or refuse the spec before anything is written."""
    try:
        family = families.named(families.route(spec.key))
        need.throughput(spec.key, family)
        search.check_pins(explain.desk_over(spec), family)
        family.check(spec.key)
        ablations.check(family, spec.key)
    except SpecError as error:
        raise SpecError(replace(p, place=_place(spec, p.place)) for p in error.problems) from None
    return family


def _unknown_components(spec: Spec, family: Family) -> list[Problem]:
    """Return a warning for each component that the family does not have."""
    unknown = families.unknown_components(family, spec.key("architecture.components"))
    known = ", ".join(sorted(family.component_types))
    return [
        Problem(
            f"the {family.name} family has no component {name}; it is ignored",
            _place(spec, "architecture.components"),
            f"known types: {known}",
        )
        for name in unknown
    ]


def _unused(spec: Spec, family: Family) -> list[Problem]:
    """Return a warning for each declared key that the package does not follow."""
    return [
        Problem(f"{name} is not followed: {reason}", _place(spec, name), hint)
        for name, reason, hint in effects.unused(family, spec.key)
    ]


def _place(spec: Spec, name: str) -> str:
    """Return the place in the spec file of a key, or of the key that contains it."""
    keys = [key for key in spec.keys() if name == key or name.startswith(f"{key}.")]  # noqa: SIM118
    place = spec.source(keys[0]) if keys else name
    return str(spec.path) if place == "default" else place


def _requested(possible: Graph, artifacts: Iterable[str]) -> tuple[Recipe, ...]:
    """Return the recipes that make some artifacts, with those of their inputs."""
    chosen = [recipe for recipe in possible.recipes if _is_listed(recipe, artifacts)]
    needed = set(possible.in_order(chosen))
    return tuple(recipe for recipe in possible.recipes if recipe in needed)


def _is_listed(recipe: Recipe, artifacts: Iterable[str]) -> bool:
    values = [each for start, each in _ARTIFACTS.items() if recipe.name.startswith(start)]
    return not values or any(each & set(artifacts) for each in values)


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


def _manifest(recipes: tuple[Recipe, ...]) -> Recipe:
    """Return the recipe of manifest.json, which lists what the other recipes make."""
    targets = tuple(target for recipe in recipes for target in recipe.targets)

    def work(desk: Desk) -> dict[str, bytes]:
        # No other task reads provenance, so it is no part of the contract that all rooms know.
        tracing = cast("TracingDesk", desk)
        rows = [_manifest_row(tracing, r, path) for r in recipes for path in r.targets]
        return {MANIFEST: files.json_bytes(sorted(rows, key=lambda row: row["path"]))}

    doc = "list every file with its sha256 and what it was made from"
    return Recipe("manifest:manifest", work, targets, (MANIFEST,), doc)


def _manifest_row(desk: TracingDesk, maker: Recipe, path: str) -> dict[str, Any]:
    known = {"sha256": desk.digest(path), "bytes": desk.size(path)}
    row = {"path": path, **known, "task": maker.name}
    return row | desk.provenance(path)
