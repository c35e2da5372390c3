"""Three-way merge of text: a person's edit and newly generated text, over the text both came from.

The regions that all three have in common part the text into chunks; a chunk that one side left as
it was takes the other's (Khanna, Kunal & Pierce, "A formal investigation of diff3", 2007).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

Lines = Sequence[str]
_Region = tuple[int, int, int, int]  # where it begins in base, mine and theirs; its length


def merged(base: bytes, mine: bytes, theirs: bytes) -> bytes | None:
    """Return the merge, or None when both changed the same lines differently, or it is no text."""
    try:
        texts = [data.decode().splitlines(keepends=True) for data in (base, mine, theirs)]
    except UnicodeDecodeError:
        return None
    result: list[str] = []
    chunks = _chunks(*texts)
    for old, ours, new, common in chunks:
        chosen = _choose(old, ours, new)
        if chosen is None:
            return None
        result += [*chosen, *common]
    return "".join(result).encode()


def _chunks(base: Lines, mine: Lines, theirs: Lines) -> Iterator[tuple[Lines, Lines, Lines, Lines]]:
    """Yield what lies before each common region in base, mine and theirs, and the region."""
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


def _common(base: Lines, mine: Lines, theirs: Lines) -> Iterator[_Region]:
    """Yield the runs of lines that base has in common with both sides, in order."""
    ours = SequenceMatcher(None, base, mine, autojunk=False).get_matching_blocks()
    news = SequenceMatcher(None, base, theirs, autojunk=False).get_matching_blocks()
    for one in ours:
        for two in news:
            start, stop = max(one.a, two.a), min(one.a + one.size, two.a + two.size)
            if start < stop:
                yield start, one.b + start - one.a, two.b + start - two.a, stop - start


def _choose(old: Lines, ours: Lines, new: Lines) -> Lines | None:
    """Return the side of a chunk that changed; None when both did, unless line by line one did."""
    if ours == new or old == new:
        return ours
    if old == ours:
        return new
    if len(old) == len(ours) == len(new) > 1:
        lines = [_choose([o], [u], [n]) for o, u, n in zip(old, ours, new, strict=True)]
        return None if None in lines else [line[0] for line in lines if line]
    return None
