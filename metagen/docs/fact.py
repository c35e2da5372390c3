"""A fact with its address, and a fact as a document printed it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from metagen import entries
from metagen.docs.sources import FILES, SPEC

Figure = tuple[Any, str, str]  # A value, its unit and its source.


class MissingFact(LookupError):
    """A document requests a fact that is in no file of the package."""


class Ref(tuple[str, ...]):
    """The address of a fact: the name of its file, then the path to its entry."""

    def __new__(cls, name: str | tuple[str, ...]) -> Ref:
        """Read an address from its parts or from text with dots between them."""
        return super().__new__(cls, name.split(".") if isinstance(name, str) else name)

    def __truediv__(self, child: str) -> Ref:
        return Ref((*self, child))

    def __str__(self) -> str:
        return ".".join(self)

    @property
    def key(self) -> str:
        """The last part: a key, or a position in a list."""
        return self[-1]


@dataclass(frozen=True)
class Fact:
    """A value that a document may print.

    Attributes:
        name: Its address, such as `params.total`.
        value: The value in the file; None if it was not declared or not measured.
        unit: Its unit; "" without one.
        source: Its file and entry, such as `blueprint/params.json: total`.
        entries: The address of its entry, such as `blueprint/params.json#/total`; of a derived
            fact, those of all entries that it follows from.
    """

    name: str
    value: Any
    unit: str
    source: str
    entries: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Printed:
    """A fact with its text in a document."""

    fact: Fact
    text: str


def proxy(ref: Ref) -> Ref:
    """Return the proxy's address for an address of the full model."""
    return Ref((ref[0], "proxy", *ref[1:]))


def file(ref: Ref) -> str:
    """Return the file of a fact's entry.

    Raises:
        MissingFact: No file has the name that the address begins with.
    """
    if ref[0] != "spec" and ref[0] not in FILES:
        raise MissingFact(f"no file of the package is called `{ref[0]}`")
    return SPEC if ref[0] == "spec" else FILES[ref[0]]


def address(ref: Ref) -> str:
    """Return the address of a fact's entry, such as `blueprint/params.json#/total`."""
    return entries.pointer(file(ref), ref[1:])


def source(ref: Ref) -> str:
    """Return the file and the entry of an address, without positions in lists."""
    entry = ".".join(part for part in ref[1:] if not part.isdigit())
    return f"{file(ref)}: {entry}"
