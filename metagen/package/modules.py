"""Read a template file: its imports, and its statements as verbatim text with their comments."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from metagen.errors import Problem, TaskError

ROOT = "templates"
SHARED = ("layers",)
"""Folders whose definitions are copied into the files that import them."""


@dataclass(frozen=True)
class Import:
    """One name that an import statement binds; `name` is None for `import module`."""

    module: str
    name: str | None
    alias: str | None

    @property
    def binding(self) -> str:
        """The name that the rest of the file uses."""
        return self.alias or self.name or self.module.partition(".")[0]


@dataclass(frozen=True)
class Statement:
    """A top-level statement of a file: its lines, with the comments above it.

    Attributes:
        text: The lines as written, without blank lines around them.
        node: Its syntax tree, with its lines and columns in the file.
        gap: Number of blank lines above it.
        binds: The name that it defines, if any.
        uses: The names that occur in it, in reading order.
    """

    text: str
    node: ast.stmt
    gap: int
    binds: str | None
    uses: tuple[str, ...]

    @property
    def line(self) -> int:
        """The number of its first line in the file."""
        return self.node.lineno

    @property
    def is_constant(self) -> bool:
        """Whether it is an assignment without a comment above."""
        return isinstance(self.node, ast.Assign | ast.AnnAssign) and not self.text.startswith("#")


@dataclass
class Module:
    """A parsed template file.

    Attributes:
        name: Its name among metagen's sources, such as `templates/layers/norm.py`.
        docstring: Everything up to the end of the module's docstring.
        imports: What it imports from other libraries and from its package, by binding.
        shared: The names that it imports from shared modules, each with that module and the line.
        statements: The rest, in order.
    """

    name: str
    docstring: str = ""
    imports: dict[str, Import] = field(default_factory=dict)
    shared: dict[str, tuple[str, int]] = field(default_factory=dict)
    statements: list[Statement] = field(default_factory=list)

    def definition(self, name: str) -> Statement | None:
        """Return the statement that defines a name."""
        return next((s for s in self.statements if s.binds == name), None)


def fail(file: str, line: int, sentence: str, hint: str = "") -> NoReturn:
    """Raise an error at a line of a template file."""
    raise TaskError(Problem(sentence, f"{file}:{line}", hint))


def parse(name: str, source: str) -> Module:
    """Return a template file as imports and statements.

    Raises:
        TaskError: The file is not Python, or it imports or annotates in a way that cannot be
            bundled; the place is the line.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        fail(name, error.lineno or 1, f"this is not Python: {error.msg}")
    _refuse_hidden_names(name, tree)
    module, lines, end = Module(name), source.splitlines(), 0
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            _add_import(module, node)
        elif end == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            module.docstring = "\n".join(lines[: node.end_lineno])
        else:
            module.statements.append(_statement(node, lines[end : node.end_lineno]))
        end = node.end_lineno or end
    return module


def is_shared(module: str) -> bool:
    """Return whether a module's definitions are copied rather than imported."""
    return module.partition(".")[0] in SHARED


def imported(module: str) -> str:
    """Return the template of an imported module, such as `templates/layers/norm.py`."""
    return f"{ROOT}/{module.replace('.', '/')}.py"


def _statement(node: ast.stmt, lines: list[str]) -> Statement:
    """Return a statement from its node and the lines since the end of the one before it."""
    text = "\n".join(lines).lstrip("\n")
    gap = len(lines) - len(text.splitlines())
    names = [n for n in ast.walk(node) if isinstance(n, ast.Name)]
    names.sort(key=lambda n: (n.lineno, n.col_offset))
    return Statement(text, node, gap, _bound_name(node), tuple(n.id for n in names))


def _bound_name(node: ast.stmt) -> str | None:
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
    return None


def _add_import(module: Module, node: ast.Import | ast.ImportFrom) -> None:
    """Record an import statement of the top level."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if is_shared(alias.name) or ("." in alias.name and not alias.asname):
                hint = f"from {alias.name} import NAME"
                fail(module.name, node.lineno, f"{alias.name} is imported as a whole", hint)
            _bind(module, Import(alias.name, None, alias.asname), node.lineno)
        return
    source = node.module or ""
    for alias in node.names:
        if node.level or alias.name == "*":
            fail(module.name, node.lineno, "an import must name its module and each of its names")
        if not is_shared(source):
            _bind(module, Import(source, alias.name, alias.asname), node.lineno)
        elif alias.asname:
            hint = "its definition is copied under its own name: import it without `as`"
            fail(module.name, node.lineno, f"{alias.name} is a shared name with an alias", hint)
        else:
            module.shared[alias.name] = (imported(source), node.lineno)


def _bind(module: Module, item: Import, line: int) -> None:
    if module.imports.setdefault(item.binding, item) != item:
        fail(module.name, line, f"{item.binding} is imported twice, as two different things")


def _refuse_hidden_names(name: str, tree: ast.Module) -> None:
    """Refuse names that the syntax tree does not connect with their definition."""
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and id(node) not in top
            and is_shared(node.module or "")
        ):
            hint = "move it to the top of the file"
            fail(name, node.lineno, "a shared import is inside a block", hint)
        for annotation in _annotations(node):
            for text in _strings(annotation):
                hint = "write it without quotes, below the definition that it names"
                fail(name, text.lineno, f"the annotation {text.value!r} hides a name", hint)


def _annotations(node: ast.AST) -> Iterator[ast.expr]:
    for attribute in ("annotation", "returns"):
        if isinstance(annotation := getattr(node, attribute, None), ast.expr):
            yield annotation


def _strings(node: ast.AST) -> Iterator[ast.Constant]:
    """Yield the strings of an annotation, except the values of a `Literal[...]`."""
    match node:
        case ast.Constant(value=str()):
            yield node
        case ast.Subscript(value=ast.Name(id="Literal")):
            return
    for child in ast.iter_child_nodes(node):
        yield from _strings(child)
