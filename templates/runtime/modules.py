"""The modules of sympy as a graph: which import which, and the words of their documentation.

The library comes with PyTorch. Its files are read as text and never imported.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np

from runtime.digests import digest
from runtime.errors import fail
from runtime.graphs import Cells, Graph, packed
from runtime.networks import Network

LIBRARY = "sympy"
INSTALL = f"pip install {LIBRARY}"
LEAST_MODULES = 15  # a sub-package with fewer is no class
LEAST_USES, MOST_SHARE, MOST_WORDS = 5, 0.5, 1000  # modules that have a word, and words in all
COMMON = 5  # a word that begins with as many letters of a class's name would say the answer
# Statements begin a line; those of examples in documentation stand behind `>>>`.
IMPORT = re.compile(
    r"^[ \t]*from[ \t]+(\.*[\w.]*)[ \t]+import[ \t]+(\([^)]*\)|(?:\\\n|[^\n#;])*)"
    r"|^[ \t]*import[ \t]+([\w., \t]+)",
    re.MULTILINE,
)
EXAMPLE = re.compile(r"^\s*(?:>>>|\.\.\.).*$", re.MULTILINE)
NAME = re.compile(r"(\w+)(?:\s+as\s+\w+)?")
DOTTED, WORDS = re.compile(r"[\w.]+"), re.compile(r"[a-z]{3,}")
Files = Mapping[str, str]  # the text of each module, by its name


def import_graph() -> tuple[str, Network]:
    """Return the digest of sympy's sources, and the modules of its sub-packages as a graph.

    A module's label is its sub-package, and its features say which words its documentation has.
    Words that begin as the name of a class does, and the code of examples, are left out: they would
    say the answer. An edge is an import, which passes messages in both directions.
    """
    files = _modules(_root())
    parts = {name: name.split(".")[1] for name in files if name.rstrip(".").count(".") > 1}
    counts = Counter(parts.values())
    names = sorted(name for name, part in parts.items() if counts[part] >= LEAST_MODULES)
    labels = [parts[name] for name in names]
    numbers = {name: number for number, name in enumerate(names)}
    pairs = {(numbers[a], numbers[b]) for a, b in imports(files) if a in numbers and b in numbers}
    index = np.array(sorted({(min(pair), max(pair)) for pair in pairs}), np.int64).T
    index = np.concatenate([index, index[::-1]], 1)
    none = np.zeros((index.shape[1], 0), np.float32)
    edges = Cells((), none, none.astype(object))
    words = _features([files[name] for name in names], set(labels))
    graph = Graph(LIBRARY, words, index, edges, None)
    total = digest(*(f"{name}\0{files[name]}".encode() for name in sorted(files)))
    shown = tuple(name.rstrip(".") for name in names)
    return total, Network(shown, packed([graph]), tuple(labels), (None,) * len(names))


def _root() -> Path:
    """Return the folder of the library, or stop."""
    try:
        return Path(str(distribution(LIBRARY).locate_file(LIBRARY)))
    except PackageNotFoundError:
        fail(f"the bundled graph comes with a library: {INSTALL}; or use --data.")


def _modules(root: Path) -> dict[str, str]:
    """Return the text of each module but tests, by its name; that of a package ends in a dot."""
    files = {}
    for path in sorted(root.rglob("*.py")):
        parts = (LIBRARY, *path.relative_to(root).with_suffix("").parts)
        if "tests" not in parts:
            files[".".join(parts).removesuffix("__init__")] = path.read_text(encoding="utf-8")
    return files


def imports(files: Files) -> Iterator[tuple[str, str]]:
    """Yield each module of a library with each one that it imports."""
    known = {name.rstrip("."): name for name in files}
    for module, text in files.items():
        for origin, names, plain in IMPORT.findall(text):
            origin = _absolute(module, origin)
            whole = [f"{origin}.{name}" for name in NAME.findall(names)] or DOTTED.findall(plain)
            for name in whole:
                # What is no module is a name of the one that it comes from.
                target = known.get(name) or known.get(origin)
                if target and target != module:
                    yield module, target


def _absolute(module: str, origin: str) -> str:
    """Return the name of what a module imports from; each dot but the first goes up a package."""
    name = origin.lstrip(".")
    ups = len(origin) - len(name)
    if not ups:
        return name
    # The last part of a package's name is empty, so its own package is itself.
    parents = module.split(".")[:-ups]
    return ".".join([*parents, name] if name else parents)


def _features(texts: Sequence[str], classes: set[str]) -> Cells:
    """Return whether the documentation of each module has each word."""
    words = [set(WORDS.findall(documentation(text))) for text in texts]
    uses = Counter(word for each in words for word in each)
    starts = tuple(part[:COMMON] for label in classes for part in WORDS.findall(label))
    kept = [
        word
        for word, count in sorted(uses.items(), key=lambda pair: (-pair[1], pair[0]))
        if LEAST_USES <= count <= MOST_SHARE * len(texts) and not word.startswith(starts)
    ][:MOST_WORDS]
    table = np.array([[word in each for word in kept] for each in words], np.float32)
    return Cells((False,) * len(kept), table, np.zeros((len(texts), 0), object))


def documentation(text: str) -> str:
    """Return what stands between triple quotes, without the lines of examples, in small letters."""
    return EXAMPLE.sub("", "\n".join(text.split('"""')[1::2])).lower()
