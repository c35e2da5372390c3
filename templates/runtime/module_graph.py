"""The modules of sympy as a graph: which import which, and the words of their documentation."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from runtime.digests import digest
from runtime.graphs import Cells, Graph, packed
from runtime.modules import PACKAGE, imported, module_texts, part_of
from runtime.networks import Network

LEAST_MODULES = 15  # a sub-package with fewer is no class
LEAST_USES, MOST_SHARE, MOST_WORDS = 5, 0.5, 1000  # modules that have a word, and words in all
COMMON = 5  # a word that begins with as many letters of a class's name would say the answer
EXAMPLE = re.compile(r"^\s*(?:>>>|\.\.\.).*$", re.MULTILINE)
WORDS = re.compile(r"[a-z]{3,}")


def import_graph() -> tuple[str, Network]:
    """Return the digest of sympy's sources, and the modules of its sub-packages as a graph.

    A module's label is its sub-package, and its features say which words its documentation has.
    Words that begin as the name of a class does, and the code of examples, are left out: they would
    say the answer. An edge is an import, which passes messages in both directions.
    """
    texts = module_texts()
    parts = {name: part_of(name) for name in texts if name.rstrip(".").count(".") > 1}
    counts = Counter(parts.values())
    names = sorted(name for name, part in parts.items() if counts[part] >= LEAST_MODULES)
    labels = [parts[name] for name in names]
    numbers = {name: number for number, name in enumerate(names)}
    pairs = {(numbers[a], numbers[b]) for a, b in _imports(texts) if a in numbers and b in numbers}
    index = np.array(sorted({(min(pair), max(pair)) for pair in pairs}), np.int64).T
    index = np.concatenate([index, index[::-1]], 1)
    none = np.zeros((index.shape[1], 0), np.float32)
    edges = Cells((), none, none.astype(object))
    words = _features([texts[name] for name in names], set(labels))
    graph = Graph(PACKAGE, words, index, edges, None)
    total = digest(*(f"{name}\0{texts[name]}".encode() for name in sorted(texts)))
    shown = tuple(name.rstrip(".") for name in names)
    return total, Network(shown, packed([graph]), tuple(labels), (None,) * len(names))


def _imports(texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield each module with each one that it imports, or imports a name from."""
    known = {name.rstrip("."): name for name in texts}
    for module, text in texts.items():
        for origin, name in imported(module, text):
            # What is no module is a name of the one that it comes from.
            target = known.get(f"{origin}.{name}") or known.get(origin)
            if target and target != module:
                yield module, target


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
