"""Works of the bibliography as a document in Markdown or a record cites them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

BIBLIOGRAPHY = "templates/paper/bibliography.bib"
_ENTRY = re.compile(r"^@\w+\{(\w+),\n((?:  .*\n)*)\}$", re.MULTILINE)
_FIELD = re.compile(r"^  (\w+) = \{(.*)\},?$", re.MULTILINE)
_ARXIV, _DOI = re.compile(r"arXiv:(\d{4}\.\d{4,5})"), re.compile(r"doi:(10\.\S+)", re.IGNORECASE)
_SITE = re.compile(r"(?:https?://)?[\w-]+(?:\.[\w-]+)+/\S*")
_MARKS = {
    **{"'": "\u0301", "`": "\u0300", '"': "\u0308", "^": "\u0302", "~": "\u0303"},
    **{"c": "\u0327", "v": "\u030c"},
}
_ACCENT = re.compile(r"\\(['`\"^~cv])\s*(?:\{(\w)\}|(\w))")
_LETTERS = {r"\L": "Ł", r"\l": "ł", r"\O": "Ø", r"\o": "ø", r"\ss": "ß", r"\&": "&"}


def resolved(bibliography: str, keys: Iterable[str]) -> list[dict[str, str | None]]:
    """Return works by the keys of their entries, each with its key, names and year, title and url.

    Raises:
        KeyError: No entry has a key.
    """
    bodies = _bodies(bibliography)
    return [{"key": key, **_work(dict(_FIELD.findall(bodies[key])))} for key in keys]


@lru_cache(maxsize=2)
def _bodies(bibliography: str) -> dict[str, str]:
    return dict(_ENTRY.findall(bibliography))


def _work(fields: dict[str, str]) -> dict[str, str | None]:
    names = [_plain(each).partition(",")[0] for each in fields["author"].split(" and ")]
    label = names[0] if len(names) == 1 else f"{names[0]} and {names[1]}"
    if len(names) > 2 or names[-1] == "others":
        label = f"{names[0]} et al."
    year = f", {fields['year']}" if "year" in fields else ""
    return {"label": label + year, "title": _plain(fields["title"]), "url": _url(fields)}


def _url(fields: dict[str, str]) -> str | None:
    """Return the address of a work; None where its entry has none."""
    text = " ".join(fields.values())
    if found := _ARXIV.search(text):
        return f"https://arxiv.org/abs/{found[1]}"
    doi = fields.get("doi") or (found[1] if (found := _DOI.search(text)) else None)
    if doi:
        return f"https://doi.org/{doi}"
    place = fields.get("url") or fields.get("howpublished", "")
    place = place.removeprefix(r"\url{").rstrip("}")
    return f"https://{place.removeprefix('https://')}" if _SITE.fullmatch(place) else None


def _plain(text: str) -> str:
    """Return text of TeX as plain text."""
    text = _ACCENT.sub(lambda found: (found[2] or found[3]) + _MARKS[found[1]], text)
    for command, letter in _LETTERS.items():
        text = text.replace(command, letter)
    return unicodedata.normalize("NFC", re.sub(r"[{}]", "", text).replace("~", " ")).strip()
