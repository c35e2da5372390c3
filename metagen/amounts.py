"""Amounts of training data: a number, its scale and what is counted, in the words people use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from metagen.units import BYTE_UNITS, SCALES, UnitError, nearest, plain

AMOUNT = (
    "an amount of data above zero, such as 2T tokens, 1M sentence pairs, 1.28M samples or 300GB"
)
# fmt: off
# Words for one item of data: a row of a table, a point of a series, a text of a set.
ITEMS = (
    "samples", "examples", "rows", "points", "records", "observations", "instances", "items",
    "entries",
)
IMAGES = ("images", "photos", "photographs", "pictures")
TEXTS = (
    "texts", "sentences", "paragraphs", "documents", "articles", "reviews", "comments", "messages",
    "posts",
)
_OTHERS = (
    "tokens", "words", "characters", "pages", "books", "queries", "questions", "answers", "prompts",
    "conversations", "dialogues", "captions", "pairs", "triples", "triplets", "sequences",
    "slices", "scans", "volumes", "videos", "clips", "frames", "scenes", "objects", "hours",
    "minutes", "seconds", "recordings", "utterances", "songs", "tracks", "windows", "series",
    "measurements", "readings", "meshes", "shapes", "graphs", "nodes", "edges", "molecules",
    "episodes", "steps", "transitions", "trajectories", "games", "interactions", "clicks",
    "ratings", "users", "sessions", "events", "bytes",
)
# fmt: on
THINGS = (*ITEMS, *IMAGES, *TEXTS, *_OTHERS)
_MEASURES = {"hours", "minutes", "seconds", "bytes"}  # what they measure may follow: hours audio
_SCALE_WORDS = {"thousand": "k", "million": "M", "billion": "B", "trillion": "T"}
# Other scales are suggested in a spelling of ours, and are no words of what is counted.
_ODD_SCALES = {
    word: factor
    for factor, words in (
        (12, "dozen dozens"),
        (10**2, "hundred hundreds"),
        (10**3, "thousands tsd"),
        (10**5, "lakh lakhs"),
        (10**6, "millions mio mil mill mln mn mm kk"),
        (10**7, "crore crores"),
        (10**9, "billions bn bln bil mrd milliard g"),
        (10**12, "trillions tn trn tril"),
    )
    for word in words.split()
}
_LINKS = {"of", "with", "from", "in", "for", "on", "by", "about"}  # what is counted stands before
_BARRED = {*_SCALE_WORDS, *_ODD_SCALES, "and", "or", "plus", "per", "times", "to", "each"}

_NUMBER = r"(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,12})?"
_AMOUNT = re.compile(rf"({_NUMBER})( ?)(\S.{{0,120}})")
_WORD = re.compile(r"[Aa]|[A-Za-z][A-Za-z0-9'/.-]{1,29}|[0-9]{1,5}(?:x[0-9]{1,5}|px|s|p|[dD])")
_GROUPED = re.compile(r"[1-9][0-9]{0,2}(?:[,_ '][0-9]{3})+(?![0-9])")
_LOOSE = re.compile(rf"{_NUMBER}.*")
_MOST_WORDS = 8


class _Amount(NamedTuple):
    """An amount in its parts: `1.28M labelled images` has the scale M and the thing images."""

    number: Decimal
    scale: str
    before: tuple[str, ...]
    thing: str
    after: tuple[str, ...]


def parse_amount(text: str) -> tuple[float, str]:
    """Return an amount of data and what is counted: `2M text tokens` is (2e6, "tokens").

    Raises:
        UnitError: The number is not above zero, or what is counted is not known.
    """
    amount = _amount(text)
    if amount.thing in BYTE_UNITS:
        return float(amount.number * BYTE_UNITS[amount.thing]), "bytes"
    return float(amount.number * SCALES[amount.scale]), amount.thing


def spell_amount(text: str) -> str:
    """Return an amount of data in its one spelling: `2 million text pair` is `2M text pairs`.

    Raises:
        UnitError: As `parse_amount`.
    """
    return _spelled(_amount(text))


def _spelled(amount: _Amount) -> str:
    head = f"{plain(amount.number)}{amount.scale}"
    return " ".join((head, *amount.before, amount.thing, *amount.after))


def _amount(text: str) -> _Amount:
    """Return the parts of an amount; the nearest amount is suggested for another text."""
    given = " ".join(text.split())
    try:
        return _strict(given)
    except UnitError as error:
        near = error.nearest or next(filter(None, map(_tried, _looser(given))), "")
        raise UnitError(error.allowed, near) from None


def _tried(text: str) -> str:
    try:
        return _spelled(_strict(text))
    except UnitError:
        return ""


def _looser(text: str) -> Iterator[str]:
    """Yield readings of a text that is no amount: without commas, hedges and odd scales."""
    found = _LOOSE.search(_GROUPED.sub(lambda m: re.sub(r"\D", "", m[0]), text[:200]))
    if not found:
        return
    loose = found[0].replace("+", "")
    yield loose
    number, *words = re.split(r"(?<=[0-9])(?=[A-Za-z])| ", loose)
    factor = _ODD_SCALES.get(words[0].lower()) if words else None
    if factor and re.fullmatch(_NUMBER, number):
        yield f"{_short(Decimal(number) * factor)} {' '.join(words[1:])}"


def _short(number: Decimal) -> str:
    """Return a number with the largest scale that leaves at least 1 before it."""
    scale, size = max((pair for pair in SCALES.items() if pair[1] <= number), key=lambda p: p[1])
    return f"{plain(number / size)}{scale}"


def _strict(text: str) -> _Amount:
    match = _AMOUNT.fullmatch(text)
    if match is None or Decimal(match[1]) <= 0:
        raise UnitError(AMOUNT)
    scale, words = _scaled(match[3], glued=not match[2])
    head, after = _parted(words)
    *before, last = head or [""]
    thing = _thing(last, scale)
    if not all(map(_is_plain, (*before, *after))):
        raise UnitError(AMOUNT)
    if not thing:
        near = nearest(last, THINGS)
        spelled = _Amount(Decimal(match[1]), scale, tuple(before), near, tuple(after))
        listed = "" if near else f"; counted in {', '.join(THINGS)}"
        raise UnitError(f"{AMOUNT}{listed}", near and _spelled(spelled))
    return _Amount(Decimal(match[1]), scale, tuple(before), thing, tuple(after))


def _is_plain(word: str) -> bool:
    return bool(_WORD.fullmatch(word)) and word.lower() not in _BARRED


def _scaled(text: str, *, glued: bool) -> tuple[str, list[str]]:
    """Return the scale letter that a text begins with, and the words after it.

    A word that begins without a space after the number says what is counted, or begins with a
    scale: in `2Q tokens`, Q is none.
    """
    first, *words = text.split()
    letters = {name.lower(): name for name in SCALES if name}
    scale = letters.get(first.lower()) or _SCALE_WORDS.get(first.lower(), "")
    if not scale and glued and not _thing(first, ""):
        scale, first = letters.get(first[0].lower(), ""), first[1:]
        if not scale or not _thing(first, scale):
            raise UnitError(AMOUNT)
        return scale, [first, *words]
    words = words if scale else [first, *words]
    if not words or len(words) > _MOST_WORDS:
        raise UnitError(AMOUNT)
    return scale, words


def _parted(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the words up to what is counted, and those after it: `hours` and `of speech`."""
    links = (at for at, word in enumerate(words) if at and word.lower() in _LINKS)
    end = next(links, len(words))
    if _thing(words[0], "") in {*_MEASURES, *BYTE_UNITS}:
        end = 1
    return words[:end], words[end:]


def _thing(word: str, scale: str) -> str:
    """Return the plural of what a word counts, or the unit of bytes as it stands; "" for none."""
    if word in BYTE_UNITS and not scale:
        return word
    folded = word.lower()
    stem = folded.removesuffix("y")
    forms = {folded, f"{folded}s", f"{folded}es", f"{stem}ies" if stem != folded else ""}
    return next((thing for thing in THINGS if thing in forms), "")
