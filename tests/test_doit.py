"""Commands of plain doit: each works, or is refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from doit.cmd_base import ModuleTaskLoader
from doit.doit_cmd import DoitMain

REPOSITORY = Path(__file__).resolve().parent.parent
TASKS = {"task_synth": lambda: {"actions": None}, "task_paper": lambda: {"actions": None}}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["info", "synth:toy"], "'synth:toy' is no task; did you mean 'synth'?"),
        (["info", "zzz"], "'zzz' is no task; `doit list --all` lists them."),
        (["info"], "must select *one* task"),
        (["ignore", "paper"], "no task can be ignored"),
        (["dumpdb"], "doit has no database here"),
        (["reset-dep"], "there is nothing to reset"),
        (["reset-dep", "paper"], "there is nothing to reset"),
    ],
)
def test_a_command_that_has_no_answer_is_refused_in_a_sentence(
    words: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert DoitMain(ModuleTaskLoader(TASKS)).run(words) == 3
    told = capsys.readouterr().err
    assert sentence in told
    assert told.startswith("ERROR: ")
    assert "Traceback" not in told
