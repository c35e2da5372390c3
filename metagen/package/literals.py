"""Set the defaults of a file's `Config` dataclass: checked scalars, written as Python literals."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping

from metagen.errors import Problem, TaskError
from metagen.package.modules import fail

Scalar = int | float | bool | str | None
Value = Scalar | tuple[Scalar, ...]
_TYPES = {"int": int, "bool": bool, "str": str}


def set_defaults(name: str, source: str, values: Mapping[str, Value]) -> str:
    """Return a file's text with the defaults of its `Config` replaced, and nothing else changed.

    Args:
        name: The file's name, for errors.
        source: Its text.
        values: One value for each field of `Config`.

    Raises:
        TaskError: A field is unknown or missing, or a value does not have the field's type.
    """
    fields = _fields(name, source)
    problems = [
        Problem(f"Config has no field {key}", name, f"its fields: {', '.join(fields)}")
        for key in values
        if key not in fields
    ]
    problems += [
        Problem(f"no value is given for the field {key} of Config", f"{name}:{node.lineno}")
        for key, node in fields.items()
        if key not in values
    ]
    if problems:
        raise TaskError(problems)
    lines = [line.encode() for line in source.splitlines(keepends=True)]
    for key, node in reversed(fields.items()):
        _replace(lines, node, _literal(name, key, node, values[key]))
    return b"".join(lines).decode()


def _fields(name: str, source: str) -> dict[str, ast.AnnAssign]:
    """Return the annotated fields of the top-level class `Config`, in order."""
    classes = [n for n in ast.parse(source).body if isinstance(n, ast.ClassDef)]
    config = next((c for c in classes if c.name == "Config"), None)
    if config is None:
        raise TaskError(Problem("the file has no class Config to set", name))
    fields = {}
    for node in config.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if node.value is None:
                fail(name, node.lineno, f"the field {node.target.id} of Config has no default")
            fields[node.target.id] = node
    return fields


def _replace(lines: list[bytes], node: ast.AnnAssign, literal: str) -> None:
    """Put a literal where a field's default stands; columns count bytes."""
    assert node.value is not None
    assert node.value.end_lineno is not None
    first, last = node.value.lineno - 1, node.value.end_lineno - 1
    head = lines[first][: node.value.col_offset]
    tail = lines[last][node.value.end_col_offset :]
    lines[first : last + 1] = [head + literal.encode() + tail]


def _literal(name: str, key: str, node: ast.AnnAssign, value: Value) -> str:
    if not _fits(value, node.annotation):
        wanted = ast.unparse(node.annotation)
        fail(name, node.lineno, f"the field {key} of Config takes {wanted}, not {value!r}")
    if isinstance(value, int) and ast.unparse(node.annotation) == "float":
        value = float(value)
    return literal(value)


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
