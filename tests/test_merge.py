"""Three-way merges: what a person changed and what was generated anew both survive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen.engine import merge as merging

BASE = "title\n\na: 1\nb: 2\nc: 3\n\nend\n"


def merge(base: str, mine: str, theirs: str) -> str | None:
    result = merging.merge(base.encode(), mine.encode(), theirs.encode())
    return None if result is None else result.decode()


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        ("title\n\na: 1\nb: 2\nc: 3\n\nend\nmine\n", "new\n\na: 1\nb: 2\nc: 3\n\nend\n",
         "new\n\na: 1\nb: 2\nc: 3\n\nend\nmine\n"),
        ("title\n\na: 9\nb: 2\nc: 3\n\nend\n", "title\n\na: 1\nb: 8\nc: 3\n\nend\n",
         "title\n\na: 9\nb: 8\nc: 3\n\nend\n"),
        ("title\n\nb: 2\nc: 3\n\nend\n", "title\n\na: 1\nb: 2\nc: 3\n\nnew\nend\n",
         "title\n\nb: 2\nc: 3\n\nnew\nend\n"),
        ("title\n\na: 1\nb: 5\nc: 3\n\nend\n", "title\n\na: 1\nb: 5\nc: 3\n\nend\n",
         "title\n\na: 1\nb: 5\nc: 3\n\nend\n"),
    ],
    ids=["far apart", "on adjacent lines", "a deletion and an insertion", "the same change"],
)  # fmt: skip
def test_changes_of_both_sides_survive(mine: str, theirs: str, expected: str) -> None:
    assert merge(BASE, mine, theirs) == expected


def test_different_changes_of_one_line_are_a_conflict() -> None:
    assert merge(BASE, BASE.replace("b: 2", "b: 3"), BASE.replace("b: 2", "b: 4")) is None


def test_what_is_no_text_is_a_conflict() -> None:
    assert merging.merge(b"\xff\x00", b"\xff\x01", b"\xff\x02") is None


text = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "\n"]), max_size=12).map("".join)


@given(text, text)
def test_a_side_that_changed_nothing_yields_to_the_other(base: str, other: str) -> None:
    assert merge(base, base, other) == other
    assert merge(base, other, base) == other


@given(text, text, text)
def test_a_merge_does_not_depend_on_whose_side_is_whose(base: str, one: str, two: str) -> None:
    assert merge(base, one, two) == merge(base, two, one)
