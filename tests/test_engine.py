"""The rules of an incremental build, each as a short story."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from helpers.toy import ALL, UPPER, Out, looking, undeclared, upper

from metagen.errors import TaskError
from metagen.work import Desk, Recipe


@pytest.fixture
def out(tmp_path: Path) -> Out:
    return Out(tmp_path / "out")


def test_a_first_build_runs_everything_and_a_second_nothing(out: Out) -> None:
    assert out.build()[0] == ["upper", "length", "report"]
    assert out.build()[0] == []
    assert out.tree() == {"a.txt": b"HELLO", "b.txt": b"5", "docs/c.txt": b"5 of size 1"}


def test_a_key_reruns_only_who_read_it(out: Out) -> None:
    out.build()
    assert out.build(size=2)[0] == ["report"]
    assert out.build(size=2, unread="now declared")[0] == []


def test_the_wave_stops_where_a_task_writes_the_same_bytes(out: Out) -> None:
    out.build()
    assert out.build(text="world")[0] == ["upper", "length"]  # as long as "hello"


@pytest.mark.parametrize(("old", "new"), [(1, 1.0), (1, True), (1, "1"), (1, None), (0.0, -0.0)])
def test_values_compare_with_their_types(out: Out, old: object, new: object) -> None:
    out.build(size=old)
    assert out.build(size=new)[0] == ["report"]
    assert out.build(size=new)[0] == []


def test_going_back_runs_nothing(out: Out) -> None:
    out.build()
    before = out.tree()
    out.build(text="something longer")
    assert out.build()[0] == []
    assert out.tree() == before


def test_a_deleted_output_comes_back_without_a_run(out: Out) -> None:
    out.build()
    (out.run / "b.txt").unlink()
    assert out.build()[0] == []
    assert (out.run / "b.txt").read_bytes() == b"5"


def test_a_lost_store_only_costs_the_run(out: Out) -> None:
    out.build()
    for kept in (out.folder / ".metagen" / "store").rglob("*"):
        if kept.is_file():
            kept.write_bytes(b"damaged")
    (out.run / "b.txt").unlink()
    assert out.build()[0] == ["length"]
    assert (out.run / "b.txt").read_bytes() == b"5"


def test_an_edit_of_the_same_size_and_mtime_is_seen(out: Out) -> None:
    import os
    import time

    out.build()
    time.sleep(0.1)
    out.build()  # now the stat signatures are trusted
    target = out.run / "a.txt"
    stat = target.stat()
    target.write_bytes(b"JELLO")
    os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    _, engine = out.build()
    assert engine.outputs.edits() == ["a.txt"]


def test_an_edited_file_is_kept_and_flows_downstream(out: Out) -> None:
    out.build()
    (out.run / "a.txt").write_bytes(b"edited by hand")
    runs, engine = out.build()
    assert runs == ["length", "report"]
    assert engine.outputs.edits() == ["a.txt"]
    assert out.tree()["docs/c.txt"] == b"14 of size 1"
    assert out.build()[0] == []


def test_an_edited_file_whose_inputs_change_is_kept_and_the_new_text_lies_beside(out: Out) -> None:
    out.build()
    (out.run / "a.txt").write_bytes(b"edited by hand")
    _, engine = out.build(text="changed")
    assert out.tree()["a.txt"] == b"edited by hand"
    assert out.tree()["a.txt.new"] == b"CHANGED"
    assert engine.outputs.conflicts() == ["a.txt"]
    _, engine = out.build(text="changed")
    assert engine.outputs.conflicts() == ["a.txt"], "the conflict stays until somebody solves it"
    (out.run / "a.txt.new").unlink()
    assert out.build(text="changed")[1].outputs.conflicts() == []


def test_an_edit_and_new_text_are_merged(out: Out) -> None:
    out.build(text="one\ntwo\nthree\nfour")
    (out.run / "a.txt").write_bytes(b"ONE\nTWO\nTHREE\nFOUR by hand")
    _, engine = out.build(text="first\ntwo\nthree\nfour")
    assert out.tree()["a.txt"] == b"FIRST\nTWO\nTHREE\nFOUR by hand"
    assert engine.outputs.edits() == ["a.txt"]
    assert engine.outputs.conflicts() == []
    assert out.build(text="first\ntwo\nthree\nfour")[0] == []


def test_discarded_edits_leave_a_backup_and_a_clean_tree(out: Out) -> None:
    out.build()
    clean = out.tree()
    (out.run / "a.txt").write_bytes(b"edited by hand")
    _, engine = out.build()
    assert engine.outputs.discard_edits() == ["a.txt"]
    out.build()
    assert out.tree() == clean
    assert [p.read_bytes() for p in engine.workspace.folder.backups.iterdir()] == [
        b"edited by hand"
    ]


def test_outputs_of_a_task_that_is_gone_are_removed_with_their_folder(out: Out) -> None:
    out.build()
    out.build(ALL[:2])
    assert set(out.tree()) == {"a.txt", "b.txt"}
    assert not (out.run / "docs").exists()


def test_what_is_seen_of_the_machine_is_taken_from_the_package_that_is_verified(
    out: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = (Recipe("s:looking", looking, (), ("seen.txt",), ""),)
    out.build(recipes)
    assert out.tree()["seen.txt"] == b"1"
    elsewhere = Out(tmp_path / "elsewhere")
    monkeypatch.setenv("METAGEN_OBSERVED", str(out.run))
    elsewhere.build(recipes, size=2)
    assert elsewhere.tree() == out.tree()
    monkeypatch.setenv("METAGEN_OBSERVED", str(tmp_path / "nothing"))
    elsewhere.build(recipes, size=3)
    assert elsewhere.tree() == {"seen.txt": b"3"}


def test_an_edited_orphan_stays(out: Out) -> None:
    out.build()
    (out.run / "docs" / "c.txt").write_bytes(b"mine now")
    out.build(ALL[:2])
    assert out.tree()["docs/c.txt"] == b"mine now"


def test_a_file_in_the_way_is_backed_up(out: Out) -> None:
    out.run.mkdir(parents=True)
    (out.run / "a.txt").write_bytes(b"was here before")
    _, engine = out.build()
    assert out.tree()["a.txt"] == b"HELLO"
    assert [p.read_bytes() for p in engine.workspace.folder.backups.iterdir()] == [
        b"was here before"
    ]
    assert engine.outputs.displaced == ["a.txt"]


def test_reading_what_is_no_input_is_an_error(out: Out) -> None:
    with pytest.raises(TaskError, match=r"reads a\.txt without naming it"):
        out.build((UPPER, Recipe("s:bad", undeclared, (), ("d.txt",), "")))


def test_making_something_else_than_the_targets_is_an_error(out: Out) -> None:
    with pytest.raises(TaskError, match=r"made \['a.txt'\], not \['z.txt'\]"):
        out.build((Recipe("s:bad", upper, (), ("z.txt",), ""),))


def test_a_failed_task_leaves_what_was_there(out: Out) -> None:
    out.build()
    before = out.tree()

    def explode(desk: Desk) -> dict[str, bytes]:
        raise TaskError("no")

    with pytest.raises(TaskError):
        out.build((Recipe("s:upper", explode, ("b.txt",), ("a.txt",), ""),), sweep=False)
    assert out.tree() == before
    assert out.build()[0] == []


@pytest.mark.parametrize("damage", [b"", b"not a database", b"SQLite format 3\0" + bytes(500)])
def test_a_damaged_ledger_heals_by_building_again(out: Out, damage: bytes) -> None:
    out.build()
    clean = out.tree()
    (out.folder / ".metagen" / "ledger.sqlite").write_bytes(damage)
    assert out.build()[0] == ["upper", "length", "report"]
    assert out.tree() == clean
    assert out.build()[0] == []


def test_a_damaged_row_counts_as_absent(out: Out) -> None:
    out.build()
    with sqlite3.connect(out.folder / ".metagen" / "ledger.sqlite") as connection:
        connection.execute("update row set body = replace(body, 'a', 'b') where name='s:upper'")
    connection.close()
    assert out.build()[0] == ["upper"]


def test_a_kill_between_writing_and_recording_is_no_hand_edit(
    out: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    from metagen.engine.ledger import RunLedger

    out.build()
    real = RunLedger.record

    def killed(self, written, task="", trace=None):
        if trace:
            raise KeyboardInterrupt
        real(self, written, task, trace)

    with monkeypatch.context() as patch:
        patch.setattr(RunLedger, "record", killed)
        with pytest.raises(KeyboardInterrupt):
            out.build(text="half done")
    assert out.tree()["a.txt"] == b"HALF DONE"
    _, engine = out.build()
    assert engine.outputs.edits() == []
    assert out.tree()["a.txt"] == b"HELLO"


def test_the_out_folder_can_be_moved(out: Out, tmp_path: Path) -> None:
    out.build()
    out.folder.rename(tmp_path / "elsewhere")
    assert Out(tmp_path / "elsewhere").build()[0] == []
