"""Who imports what in sympy, as interactions: modules are users, and imported names items.

The sources are parsed as text: sympy itself is not imported (BSD licence).
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from runtime.errors import fail

PACKAGE = "sympy"
FEWEST = 5  # interactions of each user, and of each item
TEXT = re.compile(r"""[rR]?("{3}|'{3})(?:\\.|(?!\1).)*?\1""", re.DOTALL)
IMPORT = re.compile(
    r"^[ \t]*(from[ \t]+[.\w]+[ \t]+import[ \t]*(?:\([^)]*\)|(?:[^\n\\]|\\\n)*))", re.MULTILINE
)
Pair = tuple[str, str]


def imported_names() -> list[Pair]:
    """Return the pairs of a module and a name that it imports from the package, sorted.

    A name is its module and itself, as `sympy.core.numbers:Integer`. Users and items with fewer
    than `FEWEST` pairs are left out, until none is (a 5-core). Tests and `__init__` are no users.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        fail("the bundled interactions come with a library: pip install sympy; or use --data.")
    root = Path(spec.origin).parent
    pairs = sorted({pair for path in _sources(root) for pair in _imports(path, root)})
    return _core(pairs)


def part_of(name: str) -> str:
    """Return the part of the package that a module or an imported name is in, as `solvers`."""
    return (*name.partition(":")[0].split("."), "")[1]


def _sources(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*.py")):
        if path.name != "__init__.py" and "tests" not in path.relative_to(root).parts:
            yield path


def _imports(path: Path, root: Path) -> Iterator[Pair]:
    module = ".".join((PACKAGE, *path.relative_to(root).with_suffix("").parts))
    # Only the imports are parsed: a tree of each whole file takes ten times as long.
    for line in IMPORT.findall(TEXT.sub("", path.read_text(encoding="utf-8"))):
        node = ast.parse(line).body[0]
        if isinstance(node, ast.ImportFrom):
            origin = _origin(node, module)
            if origin.split(".")[0] == PACKAGE:
                yield from ((module, f"{origin}:{n.name}") for n in node.names if n.name != "*")


def _origin(node: ast.ImportFrom, module: str) -> str:
    """Return the full name of the module that an import names, which may be relative."""
    parents = module.split(".")[: -node.level] if node.level else []
    return ".".join((*parents, *([node.module] if node.module else [])))


def _core(pairs: list[Pair]) -> list[Pair]:
    """Return the pairs of users and items that have enough of them."""
    while True:
        users, items = (Counter(side) for side in zip(*pairs, strict=True))
        kept = [(u, i) for u, i in pairs if min(users[u], items[i]) >= FEWEST]
        if len(kept) == len(pairs):
            return kept
        pairs = kept
