"""The sources of a document as one list, to which its tables refer by number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from metagen.docs.fact import Figure, Ref
from metagen.docs.sources import FILES

if TYPE_CHECKING:
    from metagen.docs.facts import Facts

_APART = "; "


def sources(facts: Facts) -> Figure:
    """Return what the verdicts and the table of published models rest on, each once."""
    texts = (*_of_constraints(facts), *_of_peers(facts))
    return tuple(dict.fromkeys(texts)), "", f"{FILES['constraints']}: source"


def named(facts: Facts) -> Figure:
    """Return what the verdicts rest on, each once and with a name, as `S2: formats of infer.py`."""
    listed = dict.fromkeys(_of_constraints(facts))
    texts = tuple(f"S{number}: {text}" for number, text in enumerate(listed, 1))
    return texts, "", f"{FILES['constraints']}: source"


def names(facts: Facts) -> Figure:
    """Return for each verdict the names that `named` gives to what it rests on."""
    listed = tuple(dict.fromkeys(_of_constraints(facts)))
    rows = [_places(facts, row, listed) for row in facts.each("constraints")]
    texts = tuple(", ".join(f"S{place}" for place in row) for row in rows)
    return texts, "", f"{FILES['constraints']}: source"


def numbers(facts: Facts, row: Ref) -> list[int]:
    """Return the numbers, from 1, in `sources` of what one entry rests on, in their order."""
    return _places(facts, row, sources(facts)[0])


def _places(facts: Facts, row: Ref, listed: Sequence[str]) -> list[int]:
    text = facts.entry(row / "source")
    found = text.split(_APART) if row[0] == "constraints" else [text]
    return sorted({listed.index(each) + 1 for each in found})


def _of_constraints(facts: Facts) -> Iterator[str]:
    for row in facts.each("constraints"):
        yield from facts.entry(row / "source").split(_APART)


def _of_peers(facts: Facts) -> Iterator[str]:
    for row in facts.each("peers.models"):
        yield facts.entry(row / "source")


FIGURES = {"sources": sources, "named_sources": named, "names_of_sources": names}
