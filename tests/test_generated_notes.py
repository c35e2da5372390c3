"""Notes of a reader: each sentence once, on standard error, from the first process."""

from __future__ import annotations

import pytest
from helpers.readers import Readers


def test_a_note_is_printed_once_on_stderr(
    runtime: Readers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["somewhere/data.py"])
    runtime.notes.note("a.csv: its rows are turned.")
    runtime.notes.note("a.csv: its rows are turned.")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "data.py: note: a.csv: its rows are turned.\n")


def test_only_the_first_process_prints_a_note(
    runtime: Readers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    runtime.notes.note("a.csv: its rows are turned.")
    assert capsys.readouterr().err == ""
