"""The `Config` dataclass of a file, with inherited fields written out and defaults set.

In a template, a `Config` inherits the fields that all tasks share from a class of `runtime/`. In a
package it shows every field with its explanation and its value, so that a reader needs one file.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from metagen.errors import Problem, TaskError
from metagen.package.modules import Module, Statement, fail, imported, parse

Scalar = int | float | bool | str | None
Value = Scalar | tuple[Scalar, ...]
_TYPES = {"int": int, "bool": bool, "str": str}


@dataclass(frozen=True)
class Field:
    """A field of a `Config`.

    Attributes:
        file: The template that defines it.
        node: Its definition.
        default: The expression that a value replaces.
        lines: The definition with the comments above it and the explanation below it.
        first: Number of the first of these lines in the template.
    """

    file: str
    node: ast.AnnAssign
    default: ast.expr
    lines: list[str]
    first: int

    def set_to(self, name: str, value: Value) -> str:
        """Return the lines with another default."""
        if not _fits(value, self.node.annotation):
            kind = ast.unparse(self.node.annotation)
            sentence = f"the field {name} of Config takes {kind}, not {value!r}"
            fail(self.file, self.node.lineno, sentence)
        if isinstance(value, int) and ast.unparse(self.node.annotation) == "float":
            value = float(value)
        lines = [line.encode() for line in self.lines]  # columns of a syntax tree count bytes
        start, end = self.default.lineno - self.first, (self.default.end_lineno or 0) - self.first
        before = lines[start][: self.default.col_offset]
        after = lines[end][self.default.end_col_offset :]
        lines[start : end + 1] = [before + literal(value).encode() + after]
        return b"\n".join(lines).decode()


def set_config(module: Module, values: Mapping[str, Value], read: Callable[[str], bytes]) -> None:
    """Write out all fields of a file's `Config`, each set to its value.

    Raises:
        TaskError: A field is unknown or missing, or a value does not have the field's type.
    """
    config = module.definition("Config")
    if config is None or not isinstance(config.node, ast.ClassDef):
        raise TaskError(Problem("the file has no class Config to set", module.name))
    inherited = _inherited(module, config.node, read)
    head, own = _split(module.name, config)
    # A field that is defined again keeps its inherited place, as it does in the dataclass.
    fields = inherited | own
    _check(module.name, fields, values)
    gap = [""] if inherited and not own else []
    body = [field.set_to(name, values[name]) for name, field in fields.items()]
    written = replace(config, text="\n".join([*head, *gap, *body]))
    module.statements[module.statements.index(config)] = written


def _inherited(
    module: Module, node: ast.ClassDef, read: Callable[[str], bytes]
) -> dict[str, Field]:
    fields: dict[str, Field] = {}
    for base in node.bases:
        item = module.imports.get(ast.unparse(base))
        if item is None or not item.module.startswith("runtime."):
            sentence = f"Config inherits from {ast.unparse(base)}"
            fail(module.name, base.lineno, sentence, "inherit from a class of runtime/ only")
        path = imported(item.module)
        shared = parse(path, read(path).decode())
        definition = shared.definition(item.name or "")
        if definition is None:
            fail(module.name, base.lineno, f"{path} does not define {item.name}")
        assert isinstance(definition.node, ast.ClassDef)
        fields |= _inherited(shared, definition.node, read) | _split(path, definition)[1]
    return fields


def _split(file: str, statement: Statement) -> tuple[list[str], dict[str, Field]]:
    """Return the lines of a class above its first field, and its fields."""
    assert isinstance(statement.node, ast.ClassDef)
    body, lines = statement.node.body, statement.text.splitlines()
    nodes = [node for node in body if isinstance(node, ast.AnnAssign)]
    if not nodes:
        return lines, {}
    above = _end(statement.node) - len(lines)
    # A field starts right after the definition above, so it includes its own comments.
    cuts = [_end(body[body.index(node) - 1]) - above for node in nodes]
    cuts[0] += not lines[cuts[0]]  # without the blank line below the docstring
    fields = {}
    for node, start, end in zip(nodes, cuts, [*cuts[1:], len(lines)], strict=True):
        name = ast.unparse(node.target)
        if node.value is None:
            fail(file, node.lineno, f"the field {name} of Config has no default")
        fields[name] = Field(file, node, node.value, lines[start:end], above + start + 1)
    return lines[: cuts[0]], fields


def _end(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


def _check(name: str, fields: Mapping[str, Field], values: Mapping[str, Value]) -> None:
    """Stop unless there is one value for each field."""
    problems = [
        Problem(f"Config has no field {key}", name, f"its fields: {', '.join(fields)}")
        for key in values
        if key not in fields
    ]
    problems += [
        Problem(
            f"the field {key} of the Config of {name} has no value",
            f"{field.file}:{field.node.lineno}",
        )
        for key, field in fields.items()
        if key not in values
    ]
    if problems:
        raise TaskError(problems)


def _fits(value: object, annotation: ast.expr) -> bool:
    """Return whether a value has an annotated type; a finite whole number fits a float."""
    match annotation:
        case ast.BinOp(left=left, right=right, op=ast.BitOr()):
            return _fits(value, left) or _fits(value, right)
        case ast.Constant(value=None):
            return value is None
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[item, *_])):
            return isinstance(value, tuple) and all(_fits(v, item) for v in value)
        case ast.Name(id="float"):
            return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
        case ast.Name(id=kind):
            return type(value) is _TYPES.get(kind)
    return False


def literal(value: Value) -> str:
    """Return the Python literal of a scalar or of a tuple of scalars, as ruff would format it."""
    if isinstance(value, tuple):
        inner = ", ".join(map(literal, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    """Return a string literal of ASCII characters only, in the quotes that need fewer escapes."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    body = text.encode("unicode_escape").decode("ascii")
    return quote + body.replace(quote, "\\" + quote) + quote
