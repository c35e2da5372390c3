"""Three-way merges: an edit by the user and new text, over the text that both came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

_Lines = Sequence[str]
_Region = tuple[int, int, int, int]  # Start in base, mine and theirs; number of lines.


def merge(base: bytes, mine: bytes, theirs: bytes) -> bytes | None:
    """Merge two texts over their common base, as diff3 does.

    The regions common to all three split each text into chunks. If one side left a chunk
    unchanged, the other side's version is taken (Khanna, Kunal & Pierce, "A formal investigation
    of diff3", 2007). The result is None if both sides changed the same lines differently, or if
    the bytes are not text.
    """
    try:
        texts = [data.decode().splitlines(keepends=True) for data in (base, mine, theirs)]
    except UnicodeDecodeError:
        return None
    result: list[str] = []
    for old, ours, new, common in _chunks(*texts):
        side = _choose(old, ours, new)
        if side is None:
            return None
        result += [*side, *common]
    return "".join(result).encode()


def _chunks(
    base: _Lines, mine: _Lines, theirs: _Lines
) -> Iterator[tuple[_Lines, _Lines, _Lines, _Lines]]:
    """Yield the chunks of base, mine and theirs before each common region, and the region."""
    at_base = at_mine = at_theirs = 0
    end = (len(base), len(mine), len(theirs), 0)
    for in_base, in_mine, in_theirs, length in [*_common(base, mine, theirs), end]:
        yield (
            base[at_base:in_base],
            mine[at_mine:in_mine],
            theirs[at_theirs:in_theirs],
            base[in_base : in_base + length],
        )
        at_base, at_mine, at_theirs = in_base + length, in_mine + length, in_theirs + length


def _common(base: _Lines, mine: _Lines, theirs: _Lines) -> Iterator[_Region]:
    """Yield the regions that base has in common with both sides, in order."""
    ours = SequenceMatcher(None, base, mine, autojunk=False).get_matching_blocks()
    news = SequenceMatcher(None, base, theirs, autojunk=False).get_matching_blocks()
    for one in ours:
        for two in news:
            start, stop = max(one.a, two.a), min(one.a + one.size, two.a + two.size)
            if start < stop:
                yield start, one.b + start - one.a, two.b + start - two.a, stop - start


def _choose(old: _Lines, ours: _Lines, new: _Lines) -> _Lines | None:
    """Return the side of a chunk that changed; if both did, compare line by line, else None."""
    if ours == new or old == new:
        return ours
    if old == ours:
        return new
    if len(old) == len(ours) == len(new) > 1:
        lines = [_choose([o], [u], [n]) for o, u, n in zip(old, ours, new, strict=True)]
        return None if None in lines else [line[0] for line in lines if line]
    return None
