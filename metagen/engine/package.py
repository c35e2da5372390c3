"""One package of one spec: its run folder and the recipes that fill it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from metagen.errors import Problem, TaskError
from metagen.spec import Spec
from metagen.work import Recipe


@dataclass(frozen=True)
class Package:
    """A spec, the name of its run folder below the out folder, its recipes, and its warnings."""

    spec: Spec
    run: str
    recipes: tuple[Recipe, ...]
    warnings: tuple[Problem, ...] = ()

    @cached_property
    def maker(self) -> dict[str, Recipe]:
        """The recipe that makes each path."""
        return {target: recipe for recipe in self.recipes for target in recipe.targets}

    def task_name(self, recipe: Recipe) -> str:
        """Return doit's name of a recipe's task, such as `docs:text_llm_8b/model_card`."""
        stage, _, what = recipe.name.partition(":")
        return f"{stage}:{self.run.removeprefix('run-')}/{what}"

    def in_order(self, wanted: Iterable[Recipe]) -> Iterator[Recipe]:
        """Yield some recipes, and the makers of their inputs, each after those that it needs."""
        done: set[str] = set()

        def visit(recipe: Recipe) -> Iterator[Recipe]:
            if recipe.name in done:
                return
            done.add(recipe.name)
            for path in recipe.inputs:
                if path not in self.maker:
                    raise TaskError(f"{recipe.name} needs {path}, which nothing makes.")
                yield from visit(self.maker[path])
            yield recipe

        for recipe in wanted:
            yield from visit(recipe)
