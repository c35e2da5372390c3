"""Paragraphs of Python's own documentation: its help topics and its docstrings (PSF licence)."""

import ast
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

SENTENCE_END = re.compile(r"(?<=[a-z)\"'][.!?]) (?=[A-Z])")
# Least characters of a paragraph's first sentence, and of the others. Shorter ones make queries and
# passages with little content.
LEAST_FIRST, LEAST_REST = 30, 60
# Some systems do not install these modules or the tests. Without them, one version of Python has
# the same texts on all systems.
_APART = {"distutils", "ensurepip", "idlelib", "lib2to3", "tkinter", "turtledemo", "venv"}
_TESTS = {"test", "tests"}
_DOCUMENTED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def bundled_text() -> bytes:
    """Return the help topics of the Python language, each paragraph once (PSF licence).

    Paragraphs recur across topics. With the copies, training would see parts of the test split.
    """
    from pydoc_data.topics import topics

    paragraphs: dict[str, str] = {}
    # Dictionaries keep the order of insertion, so the text is the same in each run.
    for topic in topics.values():
        for paragraph in topic.split("\n\n"):
            paragraphs.setdefault(paragraph.strip(), paragraph.rstrip())
    return "\n\n".join(paragraphs.values()).encode()


def topic_paragraphs() -> list[list[str]]:
    """Return the sentences of paragraphs in the help topics, each paragraph once."""
    from pydoc_data.topics import topics

    return _paragraphs(topics.values())


def docstring_paragraphs() -> list[list[str]]:
    """Return the sentences of paragraphs in the standard library's docstrings, each once."""
    sources = (path.read_text(encoding="utf-8") for path in _sources())
    return _paragraphs(text for source in sources for text in _docstrings(ast.parse(source)))


def _paragraphs(texts: Iterable[str]) -> list[list[str]]:
    """Return the sentences of the paragraphs that are long enough."""
    every = (" ".join(part.split()) for text in texts for part in text.split("\n\n"))
    paragraphs = [SENTENCE_END.split(paragraph) for paragraph in dict.fromkeys(every)]
    return [
        each
        for each in paragraphs
        if len(each[0]) >= LEAST_FIRST and len(" ".join(each[1:])) >= LEAST_REST
    ]


def _sources() -> Iterator[Path]:
    """Yield the modules of the standard library that are written in Python, in a fixed order."""
    library = Path(sysconfig.get_path("stdlib"))
    for name in sorted(sys.stdlib_module_names - _APART):
        for path in (library / f"{name}.py", *sorted((library / name).rglob("*.py"))):
            if path.is_file() and not _TESTS & set(path.relative_to(library).parts):
                yield path


def _docstrings(module: ast.Module) -> Iterator[str]:
    """Yield the docstrings of a module, and of the classes and functions in it."""
    documented: list[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef] = [module]
    for node in documented:  # the list grows by the children of each node
        documented += [child for child in node.body if isinstance(child, _DOCUMENTED)]
        text = ast.get_docstring(node)
        if text:
            yield text
