"""How to cite the model: CITATION.cff in the Citation File Format 1.2.0, and BibTeX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metagen import paths
from metagen.docs import escape, licenses
from metagen.docs.fact import Figure
from metagen.docs.sources import SPEC
from metagen.files import yaml_bytes
from metagen.work import Desk, Output, Recipe

if TYPE_CHECKING:
    from metagen.docs.facts import Facts

PATH = "CITATION.cff"


def citation(desk: Desk) -> dict[str, Output]:
    """Return the file CITATION.cff.

    Authors are entities: whether a declared name is that of a person is not known.
    """
    name, license = escape.plain(desk.key("name")), licenses.declared(desk)
    authors = desk.key("authors") or (f"The authors of {name}",)
    entries: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": "If you use this model, please cite it as below.",
        "type": "software",
        "title": name,
        "authors": [{"name": escape.plain(each)} for each in authors],
        "abstract": escape.plain(desk.key("description") or ""),
        "version": escape.plain(desk.key("version") or ""),
        "date-released": desk.key("release.date"),
        "repository": desk.key("release.repository"),
        "license": license.spdx,
        "license-url": "" if license.spdx else license.link,
    }
    return {PATH: yaml_bytes({key: value for key, value in entries.items() if value})}


def bibtex(facts: Facts) -> Figure:
    """Return the entry of the model for a bibliography in BibTeX."""
    name = facts.get("spec.name").value
    authors = facts.get("spec.authors").value or (f"The authors of {escape.plain(name)}",)
    fields = {
        "title": name,
        "author": authors,
        "year": (facts.get("spec.release.date").value or "")[:4],
        "version": facts.get("spec.version").value,
        "url": facts.get("spec.release.repository").value,
    }
    lines = [f"  {field} = {{{_bibtex(value)}}}," for field, value in fields.items() if value]
    return "\n".join([f"@misc{{{paths.slug(name)},", *lines, "}"]), "", f"{SPEC}: name, authors"


def _bibtex(value: str | tuple[str, ...]) -> str:
    if isinstance(value, str):
        return escape.bibtex(value)
    return " and ".join(f"{{{_bibtex(each)}}}" for each in value)


RECIPE = Recipe("docs:citation", citation, (), (PATH,), "say how to cite it")
