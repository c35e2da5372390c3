"""Where the trials of a study lie: a database of several workers, and a journal that is damaged."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.studies import SPEC, begun, joined, plan_of, pretended
from helpers.waiting import wait_for

from metagen import trials
from metagen.cli import main
from metagen.errors import TaskError, UsageError
from metagen.search import run, storage, study
from metagen.search.plan import Plan
from metagen.search.study import Study

PASSWORD = "hunter2%40"
SERVER = f"postgresql://me:{PASSWORD}@db.invalid/trials"


def worked(plan: Plan, url: str | None, jobs: int = 1) -> Study:
    cache = trials.cache_in(plan.folder / "cache")
    return run.work(plan, cache, url, 2.0, lambda line: None, jobs)


def points(trials_: list[study.Frozen]) -> list[object]:
    return [trial.user_attrs[study.POINT] for trial in trials_]


def database(folder: Path) -> str:
    return f"sqlite:///{folder / 'trials.db'}"


# A database.


def test_workers_share_a_database_and_run_the_trial_of_a_killed_one_again(tmp_path: Path) -> None:
    plan, url = plan_of(tmp_path, count=5, seconds=0.05, database=True), database(tmp_path)
    seen, starts = begun(plan, url), tmp_path / "starts"
    killed = joined(tmp_path, "--storage", url)
    wait_for(lambda: starts.exists() and len(starts.read_text().split()) >= 2)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    lost = [t for t in seen.trials() if t.state.name == "RUNNING"]
    assert len(lost) == 1
    done = worked(plan, url, jobs=2).finished()
    assert len(done) == 5
    assert points(lost)[0] in points(done)
    assert not [t for t in seen.trials() if t.state.name in ("RUNNING", "WAITING")]
    assert not (tmp_path / storage.JOURNAL).exists()


def test_a_study_in_a_database_equals_one_in_a_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "run", pretended())
    folders = tmp_path / "a", tmp_path / "b"
    urls = None, database(tmp_path)
    both = []
    for folder, url in zip(folders, urls, strict=True):
        plan = plan_of(folder, count=8, database=url is not None)
        plan.save()
        both.append(worked(plan, url).finished())
    assert points(both[0]) == points(both[1])
    assert [t.values for t in both[0]] == [t.values for t in both[1]]


def test_the_address_of_a_database_is_in_no_file_of_a_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "run", pretended())
    plan = plan_of(tmp_path / "study", count=3, seeds=1, database=True)
    plan.save()
    url, said = f"sqlite:///{tmp_path / 'hunter2.db'}", list[str]()
    cache = trials.cache_in(plan.folder / "cache")
    run.searched(plan, cache, url, said.append, grace=9.0)
    files = [p for p in plan.folder.rglob("*") if p.is_file()]
    assert {"study.json", "search.yaml", "trials.json"} <= {p.name for p in files}
    assert not [p for p in files if b"hunter2" in p.read_bytes()]
    assert said
    assert not [line for line in said if "hunter2" in line]


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nonsense", "This is no address of a database"),
        ("", "This is no address of a database"),
        (f"oracel://me:{PASSWORD}@db.invalid/trials", "This is no address of a database"),
        (f"postgresql://me:{PASSWORD}@db.invalid:port/x", "This is no address of a database"),
        (SERVER, "This database needs psycopg, which is not installed"),
        ("sqlite:////no/such/folder/x.db", "The database cannot be opened: unable to open"),
        (f"sqlite:///{SPEC}", "The database cannot be opened: file is not"),
    ],
)
def test_a_database_that_cannot_be_opened_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, sentence: str
) -> None:
    for driver in ("psycopg", "psycopg2"):
        monkeypatch.setitem(sys.modules, driver, None)
    arguments = ["search", str(SPEC), "--out", str(tmp_path / "out"), "--storage", url]
    told = CliRunner().invoke(main, arguments)
    assert told.exit_code == 2
    assert re.match(f"error: --storage: {sentence}", told.stderr)
    assert "hunter2" not in told.output
    assert "Traceback" not in told.output
    assert not (tmp_path / "out").exists(), "nothing is made before the database is opened"


def test_what_a_database_says_is_told_without_the_password() -> None:
    from sqlalchemy.exc import OperationalError

    broken = storage.library().exceptions.StorageInternalError("An exception is raised.")
    said = "connection as me with hunter2@ (hunter2%40) refused.\nSecond line"
    broken.__cause__ = OperationalError("SELECT 1", {}, Exception(said))
    with pytest.raises(TaskError) as caught, storage.faults(SERVER):
        raise broken
    problem = caught.value.problems[0]
    assert problem.sentence == "The database failed: connection as me with *** (***) refused."
    assert "continues" in problem.hint
    assert caught.value.__suppress_context__


def test_a_study_is_not_begun_again_where_its_trials_do_not_lie(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, count=3, database=True)
    plan.save()
    with pytest.raises(UsageError, match="lie in a database"):
        run.joined(tmp_path, None, None, 9.0, None, lambda line: None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="lie in a database"):
        plan_of(tmp_path, count=3).save()
    plan_of(tmp_path, count=3, seed=4).save()  # Another study may lie elsewhere.
    with pytest.raises(UsageError, match="lie in its folder"):
        plan_of(tmp_path, count=3, seed=4, database=True).save()


# A journal.


def test_half_a_line_at_the_end_of_a_journal_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "run", pretended())
    plan = plan_of(tmp_path, count=3)
    plan.save()
    whole = worked(plan, None).finished()
    journal = tmp_path / storage.JOURNAL
    before = journal.read_bytes()
    journal.write_bytes(before + before[:40])
    assert points(worked(plan, None).finished()) == points(whole)
    assert journal.read_bytes().startswith(before)
    more = worked(plan_of(tmp_path, count=5), None).finished()
    assert points(more)[:3] == points(whole)
    assert len(more) == 5


@pytest.mark.parametrize(
    "line", [b"\xff\n", b"{}\n", b"[]\n", b"half of a line{}\n", b'{"op_code":4}\n']
)
def test_a_damaged_journal_is_a_sentence(tmp_path: Path, line: bytes) -> None:
    plan = plan_of(tmp_path, count=3)
    first = begun(plan)
    assert first.trials()
    journal = tmp_path / storage.JOURNAL
    journal.write_bytes(line + journal.read_bytes())
    with pytest.raises(UsageError, match="journal of this study is damaged") as caught:
        worked(plan, None)
    assert str(journal) in str(caught.value)


def test_a_link_in_the_place_of_a_journal_is_refused(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "study", count=3)
    plan.save()
    (tmp_path / "mine").write_text("mine")
    (plan.folder / storage.JOURNAL).symlink_to(tmp_path / "mine")
    with pytest.raises(UsageError, match="in the way"):
        worked(plan, None)
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_search_goes_on_after_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(tmp_path, count=4, seconds=0.05)
    plan.save()
    backend = storage.library().storages.journal.JournalFileBackend
    append, full = backend.append_logs, [False]

    def appended(self: object, logs: list[object]) -> None:
        if not full[0]:
            return append(self, logs)
        with (tmp_path / storage.JOURNAL).open("ab") as file:
            file.write(b'{"op_code":')
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / storage.JOURNAL))

    def said(line: str) -> None:
        full[0] = line.startswith("trial 1 ")

    monkeypatch.setattr(backend, "append_logs", appended)
    cache = trials.cache_in(tmp_path / "cache")
    with pytest.raises(OSError, match="No space left"):
        run.work(plan, cache, None, 0.2, said)
    full[0] = False
    assert len(worked(plan, None).finished()) == 4
    assert "Traceback" not in capfd.readouterr().err


# A worker that another one took for dead.


def test_a_worker_whose_trial_was_taken_over_goes_on(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, count=3)
    mine = begun(plan)
    trial = mine.next()
    assert trial is not None
    other = Study(plan, storage.opened(tmp_path, None))
    other._study.tell(trial.number, state=other._states.FAIL)
    other._study.enqueue_trial(trial.user_attrs[study.POINT])
    mine._beat(other.next(), 0)
    mine.tell(trial, [1.0, 2.0], {})
    mine.end(trial, [1.0])
    assert mine.finished() == []
    assert len(mine.trials()) == 1
