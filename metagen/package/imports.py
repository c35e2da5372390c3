"""Merge the imports of several files into one block, in the order of ruff's isort rules."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator

from metagen.package.modules import Import

PACKAGE_FILES = ("bench", "data", "eval", "infer", "model", "runtime", "train")
"""The modules of a package's own `code/` folder, which import each other by these names."""
_WIDTH = 100


def render_imports(imports: Iterable[Import]) -> str:
    """Return one block of imports: future, standard library, third party, the package's own."""
    groups: dict[int, list[Import]] = {}
    for item in sorted(set(imports), key=lambda i: (i.module.lower(), i.module)):
        groups.setdefault(_section(item.module), []).append(item)
    return "\n\n".join("\n".join(_lines(groups[section])) for section in sorted(groups))


def _section(module: str) -> int:
    top = module.partition(".")[0]
    if top == "__future__":
        return 0
    if top in PACKAGE_FILES:
        return 3
    return 1 if top in sys.stdlib_module_names else 2


def _lines(group: list[Import]) -> Iterator[str]:
    """Yield a section's statements: `import x` first, then `from x import ...`, by module."""
    for item in group:
        if item.name is None:
            yield f"import {item.module}" + (f" as {item.alias}" if item.alias else "")
    members = [item for item in group if item.name is not None]
    for module, items in itertools.groupby(members, key=lambda item: item.module):
        yield from _from_lines(module, sorted(items, key=_member_order))


def _from_lines(module: str, members: list[Import]) -> Iterator[str]:
    """Yield the statements of one module: a name with an alias has one of its own."""
    plain = [item for item in members if not item.alias]
    for item in members:
        if item.alias:
            yield f"from {module} import {item.name} as {item.alias}"
        elif item is plain[0]:
            yield _from_line(module, [item.name or "" for item in plain])


def _member_order(item: Import) -> tuple[int, str, str]:
    """Order constants, then classes, then functions, each by the alphabet."""
    name = item.name or ""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, name.lower(), name


def _from_line(module: str, names: list[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= _WIDTH:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in names) + ")"
