"""Current digests of what lies outside a package: metagen's code, its data files, libraries.

A task must run again when the code that made its outputs changes. The digest of a definition covers
its syntax tree without docstrings, and transitively that of every definition of metagen that it
names: base classes, composed objects, called functions. Comments, docstrings and formatting do not
count. The analysis may only err towards too many names: a name that could mean a definition counts
as one, a module that is used whole counts whole, and a string that spells a module's name counts as
a use of it.
"""

from __future__ import annotations

import ast
import hashlib
import itertools
import os
import platform
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from metagen import entries, files, fonts, paths
from metagen.engine.ledger import Ledger

BODY = "<body>"  # Statements of a module that are neither definitions nor imports.
IMPORTS = "<imports>"  # The names that a module imports.

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Environment:
    """Digests of the sources, versions and code that all packages of an out folder share.

    Each digest is computed once per build, so all tasks of a build agree on it.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._digests: dict[tuple[str, str], str] = {}
        self._lock = threading.RLock()

    def digest(self, kind: str, name: str) -> str:
        """Return the digest of a `source`, `version` or `code` dependency; "" if it is missing."""
        with self._lock:
            if (kind, name) not in self._digests:
                self._digests[kind, name] = self._compute(kind, name)
            return self._digests[kind, name]

    def _compute(self, kind: str, name: str) -> str:
        if kind == "source":
            path = paths.source(name)
            return files.sha256(path.read_bytes()) if path.is_file() else ""
        return version(name) if kind == "version" else self._code_digest(name)

    def _code_digest(self, root: str) -> str:
        """Return the digest of a definition; the ledger saves parsing metagen in every build."""
        package, digests = self._saved_codes
        if root not in digests:
            digests[root] = self._index.digest(root) or ""
            self._ledger.put("", [("code", "", {"package": package, "digests": digests})])
        return digests[root]

    @cached_property
    def _saved_codes(self) -> tuple[str, dict[str, str]]:
        """The digest of all files of metagen, and the code digests saved under it."""
        package = package_digest(paths.PACKAGE)
        saved = self._ledger.rows("", "code").get("", {})
        match saved:
            case {"package": str(other), "digests": dict(digests)} if other == package:
                return package, digests
        return package, {}

    @cached_property
    def _index(self) -> CodeIndex:
        return CodeIndex.of_package(paths.PACKAGE)


def version(name: str) -> str:
    """Return the version of a library, `python`, `tex` or `fonts`; "" if it is not installed."""
    others = {"python": platform.python_version, "tex": _tex_version, "fonts": fonts.version}
    return others[name]() if name in others else installed().get(_normal(name), "")


@cache
def installed() -> dict[str, str]:
    """Return {library: version}, from the names of the folders of their metadata.

    Reading names only takes a millisecond; `importlib.metadata` would open every file.
    """
    versions: dict[str, str] = {}
    for folder in reversed(sys.path):  # An earlier folder shadows a later one.
        with suppress(OSError):
            for entry in os.listdir(folder or "."):  # noqa: PTH208, since it is faster
                if entry.endswith(".dist-info"):
                    name, _, number = entry.removesuffix(".dist-info").rpartition("-")
                    versions[_normal(name)] = number
    return versions


def _normal(name: str) -> str:
    """Return a library's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _tex_version() -> str:
    import subprocess

    command = ["pdflatex", "--version"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.partition("\n")[0]


@dataclass
class _Module:
    """The definitions of one file, and {local name: full dotted name} of its imports."""

    name: str
    is_package: bool
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)


class CodeIndex:
    """The digest of every definition of a package, by `module:name`, and the names in each."""

    def __init__(self, own: dict[str, str], references: dict[str, list[str]]) -> None:
        self.own = own
        self.references = references
        self._members: dict[str, tuple[str, ...]] = {}  # Keys are modules.
        for module, names in itertools.groupby(own, lambda name: name.partition(":")[0]):
            self._members[module] = tuple(names)

    @classmethod
    def of_package(cls, root: Path) -> CodeIndex:
        """Read every file below a package's folder."""
        modules = {name: _parse(name, path) for name, path in package_files(root)}
        own: dict[str, str] = {}
        references: dict[str, list[str]] = {}
        patches: list[tuple[str, str]] = []
        for module in modules.values():
            for name, statements in module.definitions.items():
                qualified = f"{module.name}:{name}"
                own[qualified] = _digest(ast.dump(s) for s in statements)
                named: set[str] = set()
                for statement in statements:
                    used, replaced = _references(statement, module, modules)
                    named |= used
                    patches += [(each, qualified) for each in replaced]
                # Statements at module level may change any definition of the module.
                named.add(f"{module.name}:{BODY}")
                references[qualified] = sorted(named - {qualified})
            # A user of a whole module may also use the names that it only imports.
            qualified = f"{module.name}:{IMPORTS}"
            own[qualified] = _digest(f"{n} {full}" for n, full in sorted(module.imports.items()))
            imported = (r for full in module.imports.values() for r in _resolve(full, modules))
            references[qualified] = sorted(set(imported))
        for patched, by in patches:
            for name in own:
                if patched in (name, name.partition(":")[0]):
                    references[name].append(by)
        return cls(own, references)

    def digest(self, root: str) -> str | None:
        """Return the digest of a definition with all that it reaches; None if it does not exist.

        Args:
            root: `module:name`, or `module` for a whole module.
        """
        pending = list(self._expand(root))
        if not pending:
            return None
        seen: set[str] = set()
        while pending:
            name = pending.pop()
            if name not in seen:
                seen.add(name)
                pending += [n for r in self.references[name] for n in self._expand(r)]
        return _digest(f"{name} {self.own[name]}" for name in sorted(seen))

    def _expand(self, reference: str) -> tuple[str, ...]:
        if ":" in reference:
            return (reference,) if reference in self.own else ()
        return self._members.get(reference, ())


def package_files(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield (module name, path) of each Python file of a package, in a fixed order."""
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        if "templates" not in parts:
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def package_digest(root: Path) -> str:
    """Return the digest of the bytes of all Python files of a package."""
    return _digest(
        f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for name, path in package_files(root)
    )


def _digest(texts: Iterable[str]) -> str:
    total = hashlib.sha256()
    for text in texts:
        total.update(text.encode())
        total.update(b"\0")
    return total.hexdigest()


def _parse(name: str, path: Path) -> _Module:
    tree = _without_docstrings(ast.parse(path.read_bytes(), filename=str(path)))
    module = _Module(name, path.name == "__init__.py", {BODY: []})
    for statement in tree.body:
        if not isinstance(statement, _Definition):
            module.imports |= _imported_in(statement, module)
        for defined in _defined(statement):
            module.definitions.setdefault(defined, []).append(statement)
    return module


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in entries.statements(tree):
        if isinstance(node, ast.Module | _Definition) and ast.get_docstring(node, clean=False):
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _defined(statement: ast.stmt) -> list[str]:
    """Return the names that a top-level statement defines, or BODY."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return []
    if isinstance(statement, _Definition):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        names = [n.id for t in statement.targets for n in ast.walk(t) if isinstance(n, ast.Name)]
        return names or [BODY]
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return [statement.target.id]
    return [BODY]


def _imported_in(node: ast.AST, module: _Module) -> dict[str, str]:
    """Return {local name: full dotted name} of the imports in a node, inside functions too."""
    names: dict[str, str] = {}
    for inner in entries.statements(node):
        if isinstance(inner, ast.Import):
            names |= {
                a.asname or _top(a.name): a.name if a.asname else _top(a.name) for a in inner.names
            }
        elif isinstance(inner, ast.ImportFrom):
            base = _absolute(inner, module)
            names |= {a.asname or a.name: f"{base}.{a.name}" for a in inner.names}
    return names


def _top(dotted: str) -> str:
    return dotted.partition(".")[0]


def _absolute(statement: ast.ImportFrom, module: _Module) -> str:
    """Return the full name of the module in a `from` import, which may be relative."""
    if not statement.level:
        return statement.module or ""
    climb = statement.level - module.is_package
    parents = module.name.split(".")[: -climb or None]
    return ".".join([*parents, *([statement.module] if statement.module else [])])


class _Uses(ast.NodeVisitor):
    """The dotted names and the strings that a statement uses, and the names that it changes."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.strings: set[str] = set()
        self.changed: set[str] = set()

    def visit_Name(self, node: ast.Name) -> None:
        self.names.add(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Record `a.b.c` as one name: a use of one member of a module is no use of all of it."""
        dotted = _dotted(node)
        if dotted:
            self.names.add(dotted)
            if not isinstance(node.ctx, ast.Load):
                self.changed.add(dotted)
        else:
            self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """Record what has an item set or deleted."""
        if not isinstance(node.ctx, ast.Load):
            self.changed.add(_dotted(node.value))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Record what has an attribute set or deleted by name."""
        if isinstance(node.func, ast.Name) and node.func.id in ("setattr", "delattr") and node.args:
            self.changed.add(_dotted(node.args[0]))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """Record a string: it may name a module that is imported, or run, by name."""
        if isinstance(node.value, str):
            self.strings.add(node.value)


def _dotted(node: ast.expr) -> str:
    """Return "a.b.c" for `a.b.c`, "" for an attribute of anything but a name."""
    if isinstance(node, ast.Name):
        return node.id
    inner = _dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{inner}.{node.attr}" if inner and isinstance(node, ast.Attribute) else ""


def _references(
    statement: ast.stmt, module: _Module, modules: dict[str, _Module]
) -> tuple[set[str], set[str]]:
    """Return what a statement uses and what it replaces: definitions and modules of the package."""
    uses = _Uses()
    uses.visit(statement)
    local = _imported_in(statement, module)
    names = module.imports | local
    used, replaced = {text for text in uses.strings if text in modules}, set[str]()
    for dotted in sorted(uses.names | uses.changed):
        head, _, rest = dotted.partition(".")
        if head in module.definitions and head not in local:
            used.add(f"{module.name}:{head}")
        elif head in names:
            used.update(_resolve(f"{names[head]}.{rest}".rstrip("."), modules))
        if dotted in uses.changed and head in names:
            replaced.update(_resolve(f"{names[head]}.{rest}".rstrip("."), modules))
    return used, replaced


def _resolve(dotted: str, modules: dict[str, _Module]) -> Iterator[str]:
    """Yield the definition, or else the module, of the package that a full dotted name means."""
    parts = dotted.split(".")
    cut = next((c for c in range(len(parts), 0, -1) if ".".join(parts[:c]) in modules), 0)
    if not cut:
        return
    name = ".".join(parts[:cut])
    member = parts[cut] if cut < len(parts) else ""
    module = modules[name]
    if member in module.definitions:
        yield f"{name}:{member}"
    elif member in module.imports:  # a re-export
        yield from _resolve(".".join([module.imports[member], *parts[cut + 1 :]]), modules)
    else:
        yield name
