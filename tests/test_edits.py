"""A failure after an edit by the user names the edit; one without an edit is MetaGen's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers.building import build, fake_measurements

from metagen.engine.engine import blame_edits
from metagen.errors import TaskError, UsageError
from metagen.measure import sandbox


def test_an_unforeseen_error_names_the_edits_and_the_next_step() -> None:
    with pytest.raises(TaskError) as raised, blame_edits(lambda: ["a.json", "b.json"]):
        raise KeyError("total")
    place, sentence = str(raised.value).splitlines()
    assert place.startswith("a.json, b.json: a task fails on this edit: KeyError")
    assert "--discard-edits" in sentence


def test_an_error_without_edits_stays_what_it_is() -> None:
    with pytest.raises(KeyError), blame_edits(list):
        raise KeyError("total")


def test_an_error_that_a_user_can_act_on_stays_what_it_is() -> None:
    with pytest.raises(UsageError), blame_edits(lambda: ["a.json"]):
        raise UsageError("no such option")


def test_a_task_is_blamed_on_an_edit_far_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "run", fake_measurements)
    build(tmp_path)
    (run,) = tmp_path.glob("run-*")
    counted = run / "blueprint" / "params.json"
    counted.write_text(re.sub(r"(?<=: )[\d.e+-]+", '"x"', counted.read_text()))
    with pytest.raises(
        TaskError, match=r"^blueprint/params\.json: a task fails on this edit"
    ) as raised:
        build(tmp_path)
    assert raised.value.__cause__
