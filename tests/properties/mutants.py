"""Changed copies of metagen's code: one definition at a time, or nothing but its looks."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

from metagen.engine.digest import package_files

Spans = dict[str, list[tuple[int, int, str]]]  # by file: first line, last line, module:name
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Place:
    """A top-level function, class or constant of metagen."""

    module: str
    file: str
    definition: str

    @property
    def name(self) -> str:
        """The name that digests know it by."""
        return f"{self.module}:{self.definition}"

    def __str__(self) -> str:
        return self.name


def definitions(package: Path) -> list[Place]:
    """Return every top-level definition of a package."""
    places = []
    for module, path in package_files(package):
        for statement in ast.parse(path.read_bytes()).body:
            if name := _defined(statement):
                places.append(Place(module, path.relative_to(package).as_posix(), name))
    return list(dict.fromkeys(places))


def _defined(statement: ast.stmt) -> str:
    if isinstance(statement, _Definition):
        return statement.name
    targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
    return targets[0].id if isinstance(targets[0], ast.Name) else ""


@contextmanager
def changed(package: Path, place: Place) -> Iterator[None]:
    """Change one definition in the copy of a package, without changing what it does."""
    before = (package / place.file).read_bytes()
    change(package, place)
    try:
        yield
    finally:
        (package / place.file).write_bytes(before)


def change(package: Path, place: Place) -> None:
    """Change one definition for good."""
    path = package / place.file
    tree = ast.parse(path.read_bytes())
    for statement in tree.body:
        if _defined(statement) == place.definition:
            _change(statement)
    path.write_text(ast.unparse(ast.fix_missing_locations(tree)))


def _change(statement: ast.stmt) -> None:
    if isinstance(statement, _Definition):
        statement.body.append(ast.parse("_changed = 1").body[0])
    elif isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value:
        test = ast.Constant(value=True)
        statement.value = ast.IfExp(
            test=test, body=statement.value, orelse=ast.Constant(value=None)
        )


@contextmanager
def altered(package: Path, place: Place, chance: random.Random) -> Iterator[str]:
    """Give one constant of a definition another value; yield how, "" when it has none."""
    path = package / place.file
    before = path.read_bytes()
    tree = _without_docstrings(ast.parse(before))
    constants = [n for s in tree.body if _defined(s) == place.definition for n in _constants(s)]
    how = ""
    if constants:
        constant = chance.choice(constants)
        now = _other(constant.value)
        how = f"line {constant.lineno}, {constant.value!r} -> {now!r}"
        constant.value = now
        path.write_text(ast.unparse(ast.fix_missing_locations(tree)))
    try:
        yield how
    finally:
        path.write_bytes(before)


def _constants(statement: ast.stmt) -> Iterator[ast.Constant]:
    inside_text = {id(part) for n in ast.walk(statement) if isinstance(n, ast.JoinedStr)
                   for part in ast.walk(n)}  # fmt: skip
    for node in ast.walk(statement):
        kinds = str if id(node) in inside_text else str | int | float
        if isinstance(node, ast.Constant) and isinstance(node.value, kinds):
            yield node


def _other(value: str | float) -> str | float:
    if isinstance(value, bool):
        return not value
    return f"{value}x" if isinstance(value, str) else value + 1


def _without_docstrings(tree: ast.Module) -> ast.Module:
    """Drop docstrings, which no output is made of."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | _Definition) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def reformat(package: Path) -> None:
    """Drop all comments and formatting, and write another docstring everywhere."""
    for _, path in package_files(package):
        tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | _Definition):
                if ast.get_docstring(node, clean=False):
                    node.body = node.body[1:]
                node.body.insert(0, ast.Expr(ast.Constant(value="Another docstring.")))
        path.write_text("# Another comment.\n\n" + ast.unparse(ast.fix_missing_locations(tree)))


def spans(package: Path) -> Spans:
    """Return which lines each definition of a package takes, decorators included."""
    lines: Spans = {}
    for module, path in package_files(package):
        for statement in ast.parse(path.read_bytes()).body:
            if name := _defined(statement):
                decorators = getattr(statement, "decorator_list", [])
                first = min([statement.lineno, *(d.lineno for d in decorators)])
                span = (first, statement.end_lineno or first, f"{module}:{name}")
                lines.setdefault(str(path), []).append(span)
    return lines


def at(places: Spans, code: CodeType) -> Iterator[str]:
    """Yield the definition that some code belongs to; nothing for code of other packages."""
    for first, last, name in places.get(code.co_filename, ()):
        if first <= code.co_firstlineno <= last and code.co_name != "<module>":
            yield name
