"""Notes of a reader: each sentence once, on standard error, from the first process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from helpers.generated import runtime


@pytest.fixture
def notes() -> Iterator[Any]:
    with runtime() as module:
        yield module("notes")


def test_a_note_is_printed_once_on_stderr(
    notes: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["somewhere/data.py"])
    notes.note("a.csv: its rows are turned.")
    notes.note("a.csv: its rows are turned.")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "data.py: note: a.csv: its rows are turned.\n")


def test_only_the_first_process_prints_a_note(
    notes: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    notes.note("a.csv: its rows are turned.")
    assert capsys.readouterr().err == ""
