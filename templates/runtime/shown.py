"""Texts of the test split as documents show them: some of its queries, with the first answers."""

from collections.abc import Sequence
from typing import Any

QUERIES, ANSWERS = 3, 3  # More would take more room than the scores that they illustrate.
LETTERS = 240  # The rest of a text is cut.


def spread(count: int, shown: int) -> list[int]:
    """Return the places of some of `count` entries, evenly spread: no score chooses them."""
    shown = min(shown, count)
    return [number * (count // shown) for number in range(shown)]


def one_line(text: str) -> str:
    """Return a text on one line, without characters that have no shape."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def brief(text: str) -> str:
    """Return the beginning of a text on one line."""
    line = one_line(text)
    return line if len(line) <= LETTERS else f"{line[:LETTERS].rstrip()} …"


def answered(query: str, answers: Sequence[tuple[str, bool]]) -> dict[str, Any]:
    """Return a query with its first answers, and the rank of the first right one if there is any.

    Args:
        query: The query.
        answers: Every answer and whether it is right, the best first.
    """
    ranks = [rank for rank, (_, right) in enumerate(answers, start=1) if right]
    first = [{"text": brief(text), "right": right} for text, right in answers[:ANSWERS]]
    return {"query": brief(query), "answers": first, "first_right": ranks[0] if ranks else None}
