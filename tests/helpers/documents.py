"""What no document of a package may have: empty phrases, empty sections, links to nothing."""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping

# What a template prints for a fact that is absent, and what a person leaves to be filled in.
_EMPTY = re.compile(
    r"not declared|not computed|\{\{|\{%|needed\]|\bTODO\b|\bN/A\b|\bNone\b|: *\.|: *;| \( *\)"
)
_LINK = re.compile(r"\]\(([^)#:]+)\)")
_FENCED = re.compile(r"^(`{3,})[^\n]*\n.*?^\1$", re.MULTILINE | re.DOTALL)
_HEADER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_FEWEST_WORDS = 6  # a shorter sentence is a label


def prose(text: str) -> str:
    """Return a document without its header and without its blocks of code."""
    return _FENCED.sub("", _HEADER.sub("", text))


def empty_phrases(text: str) -> list[str]:
    """Return the lines with an empty phrase."""
    return [line for line in prose(text).split("\n") if _EMPTY.search(line)]


def empty_sections(text: str) -> list[str]:
    """Return the headings that neither text nor a lower heading follows."""
    lines = [line for line in _FENCED.sub("code", text).split("\n") if line] + ["# end"]
    pairs = itertools.pairwise(lines)
    return [a for a, b in pairs if _level(a) and 0 < _level(b) <= _level(a)]


def _level(line: str) -> int:
    return len(line) - len(line.lstrip("#")) if re.match("#+ ", line) else 0


def dangling(document: str, text: str, made: Collection[str]) -> list[str]:
    """Return the links of a document that lead to no file which the package has."""
    folder = posixpath.dirname(document)
    paths = (posixpath.normpath(posixpath.join(folder, each)) for each in _LINK.findall(text))
    return [path for path in paths if path not in made]


def repeated(texts: Mapping[str, str], facts: Collection[str]) -> list[str]:
    """Return the sentences that more than one document has.

    Tables with their captions and code do not count: card and report state the same results. Nor do
    facts that are sentences, such as the judgement of the results: a fact has the same words
    wherever it is stated.
    """
    places: dict[str, set[str]] = {}
    for document, text in texts.items():
        for sentence in _sentences(text):
            places.setdefault(sentence, set()).add(document)
    several = (sentence for sentence, documents in places.items() if len(documents) > 1)
    return [each for each in several if not any(each.strip(".") in fact for fact in facts)]


def _sentences(text: str) -> Iterator[str]:
    for line in prose(text).split("\n"):
        if not line.startswith(("|", "#", "**", "- `", "![")):
            for sentence in re.split(r"(?<=[.:;]) ", line.strip("- ")):
                if len(sentence.split()) >= _FEWEST_WORDS:
                    yield sentence
