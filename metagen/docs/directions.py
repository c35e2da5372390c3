"""Text that runs from right to left, such as Arabic and Hebrew, for TeX."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

_FORMS = (*range(0xFB50, 0xFE00), *range(0xFE70, 0xFF00))  # presentation forms of Arabic
_RIGHT = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc"
_RUN = re.compile(rf"[{_RIGHT}]+(?:[ ,.;:!?'\"()-]+[{_RIGHT}]+)*")
DIGITS = re.compile("[\u0660-\u0669\u06f0-\u06f9]+")
# Lam and alef are one letter where they meet: each pair of their forms has a form of its own.
_LIGATURES = range(0xFEF5, 0xFEFD)
_LAM = {"isolated": "\ufedf", "final": "\ufee0"}
_LAM_ALEF = re.compile("[\ufedf\ufee0][\ufe82\ufe84\ufe88\ufe8e]")


def runs(text: str) -> list[tuple[str, bool]]:
    """Return the parts of a text, and whether each runs from right to left."""
    parts, at = [], 0
    for found in _RUN.finditer(text):
        parts += [(text[at : found.start()], False), (found[0], True)]
        at = found.end()
    return [(part, turned) for part, turned in (*parts, (text[at:], False)) if part]


def joined(text: str) -> str:
    """Return Arabic with each letter in the form that it has between its neighbours."""
    shown = []
    letters = [char for char in text if not unicodedata.combining(char)]
    at = 0
    for char in text:
        if unicodedata.combining(char):
            shown.append(char)
            continue
        before, after = (letters[at - 1] if at else ""), (letters[at + 1 : at + 2] or [""])[0]
        shown.append(_formed(char, before, after))
        at += 1
    return _LAM_ALEF.sub(lambda pair: _ligatures()[pair[0]], "".join(shown))


def _formed(char: str, before: str, after: str) -> str:
    forms = _forms()
    follows = (before, "initial") in forms and (char, "final") in forms
    leads = (char, "initial") in forms and (after, "final") in forms
    form = {(0, 0): "isolated", (0, 1): "initial", (1, 0): "final", (1, 1): "medial"}
    return forms.get((char, form[follows, leads]), char)


@cache
def _forms() -> dict[tuple[str, str], str]:
    """Return {(letter, form): presentation form}, from the decompositions of Unicode."""
    known: dict[tuple[str, str], str] = {}
    for code in _FORMS:
        form, *letters = unicodedata.decomposition(chr(code)).split() or [""]
        if form[:1] == "<" and len(letters) == 1:
            known.setdefault((chr(int(letters[0], 16)), form.strip("<>")), chr(code))
    return known


@cache
def _ligatures() -> dict[str, str]:
    """Return {lam and alef: their common form}."""
    pairs = {}
    for code in _LIGATURES:
        form, _, alef = unicodedata.decomposition(chr(code)).split()
        pairs[_LAM[form.strip("<>")] + _forms()[chr(int(alef, 16)), "final"]] = chr(code)
    return pairs
