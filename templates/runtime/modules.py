"""The modules of sympy: their texts, and what they import from each other (BSD licence).

The library comes with PyTorch. Its sources are parsed as text, and it is not imported.
"""

import ast
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from runtime.errors import fail

PACKAGE = "sympy"
TEXT = re.compile(r"""[rR]?("{3}|'{3})(?:\\.|(?!\1).)*?\1""", re.DOTALL)
IMPORT = re.compile(
    r"^[ \t]*(from[ \t]+[.\w]+[ \t]+import[ \t]*(?:\([^)]*\)|(?:[^\n\\]|\\\n)*))", re.MULTILINE
)


def module_texts() -> dict[str, str]:
    """Return the text of each module but tests, by its name; that of a package ends in a dot."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        fail(f"the bundled modules come with a library: pip install {PACKAGE}; or use --data.")
    root = Path(spec.origin).parent
    texts = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if "tests" not in parts:
            name = ".".join((PACKAGE, *parts)).removesuffix("__init__")
            texts[name] = path.read_text(encoding="utf-8")
    return texts


def imported(module: str, text: str) -> Iterator[tuple[str, str]]:
    """Yield what a module imports from the package: the full name of a module, and a name in it."""
    # Only the imports are parsed: a tree of each whole file takes ten times as long.
    for line in IMPORT.findall(TEXT.sub("", text)):
        node = ast.parse(line).body[0]
        if isinstance(node, ast.ImportFrom):
            origin = _origin(node, module)
            if origin.split(".")[0] == PACKAGE:
                yield from ((origin, each.name) for each in node.names if each.name != "*")


def _origin(node: ast.ImportFrom, module: str) -> str:
    """Return the full name of the module that an import names, which may be relative."""
    # The last part of a package's name is empty, so its own package is itself.
    parents = module.split(".")[: -node.level] if node.level else []
    return ".".join((*parents, *([node.module] if node.module else [])))


def part_of(name: str) -> str:
    """Return the part of the package that a module or a name in it is in, as `solvers`."""
    return (*name.partition(":")[0].split("."), "")[1]
