"""An out folder or a cache from a stranger: a build touches nothing outside, and never waits."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from helpers.toy import ALL, UPPER, Out

from metagen import files
from metagen.cli import main
from metagen.engine import ledger
from metagen.engine.cache import Folder
from metagen.engine.workspace import collect_garbage
from metagen.errors import MetagenError, TaskError, UsageError
from metagen.work import Desk, Recipe

KEPT = b"thesis"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder beside the out folder, in which nothing may change."""
    (tmp_path / "victim" / "tmp").mkdir(parents=True)
    for name in ("keep.txt", "other.new", "tmp/thesis.txt"):
        (tmp_path / "victim" / name).write_bytes(KEPT)
    return tmp_path / "victim"


@pytest.fixture
def out(tmp_path: Path) -> Out:
    out = Out(tmp_path / "out")
    out.build()
    return out


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def forge(out: Out, kind: str, name: str, body: Any) -> None:
    """Put a row with a right checksum into a ledger."""
    text = files.canonical(body)
    mark = ledger._checksum("run-toy", kind, name, text)
    with closing(sqlite3.connect(out.folder / ".metagen" / "ledger.sqlite")) as raw, raw:
        raw.execute(
            "insert or replace into row values(?,?,?,?,?)", ("run-toy", kind, name, text, mark)
        )


def read(out: Out, kind: str, name: str) -> Any:
    with closing(ledger.Ledger(out.folder / ".metagen" / "ledger.sqlite")) as rows:
        return rows.rows("run-toy", kind, name)[name]


def forge_output(out: Out, path: str) -> None:
    """Let the newest run of a task have made another file, with content that is in the store."""
    reads, outputs, inputs = read(out, "trace", "s:upper")
    forge(out, "trace", "s:upper", [reads, {**outputs, path: outputs["a.txt"]}, inputs])


def tried(build: Callable[[], object]) -> str:
    """Build, and return the sentence of the error, if there is one."""
    try:
        build()
    except MetagenError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("path", ["../../victim/keep.txt", "{victim}/keep.txt", "a/../../../x"])
@pytest.mark.parametrize("forged", ["written", "output"])
def test_a_row_that_names_a_file_elsewhere_is_no_record(
    path: str, forged: str, out: Out, victim: Path
) -> None:
    before, path = tree(victim), path.format(victim=victim)
    if forged == "written":
        forge(out, "written", path, ["s:upper", files.sha256(KEPT), ""])
        forge(out, "written", f"{path}.new", ["s:upper", "", ""])
    else:
        forge_output(out, path)
    out.build()
    assert tree(victim) == before
    assert out.tree()["a.txt"] == b"HELLO"
    assert sorted(p.name for p in out.folder.iterdir()) == [".metagen", "run-toy"]


def test_an_output_that_the_recipe_does_not_make_is_not_restored(out: Out) -> None:
    forge_output(out, "bashrc")
    assert out.build()[0] == ["upper"]
    assert set(out.tree()) == {"a.txt", "b.txt", "docs/c.txt"}


@pytest.mark.parametrize(
    ("kind", "name"),
    [("trace", "s:upper"), ("past", "s:upper"), ("written", "a.txt"), ("stat", "")],
)
@pytest.mark.parametrize(
    "body", [0, "x", [], [1, 2, 3], {"a": 1}, [[["x"]], {}, {}], [[], {"a.txt": 3}, {}], None]
)
def test_a_row_of_a_wrong_shape_counts_as_absent(kind: str, name: str, body: Any, out: Out) -> None:
    forge(out, kind, name, body)
    out.build(text="other")
    assert out.tree()["a.txt"] == b"OTHER"


def test_a_row_that_is_nested_without_end_counts_as_absent(
    out: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "canonical", lambda value: value)
    forge(out, "trace", "s:upper", "[" * 100_000)
    monkeypatch.undo()
    assert out.build()[0] == ["upper"]


def test_a_view_in_place_of_the_rows_is_damage(out: Out) -> None:
    place = out.folder / ".metagen" / "ledger.sqlite"
    place.unlink()
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select i from n"
    with closing(sqlite3.connect(place)) as raw, raw:
        raw.execute(f"create view row as select '' as run, '' as kind, '' as name, ({endless})")
    assert out.build()[0] == ["upper", "length", "report"]


def linked(path: Path, to: Path) -> None:
    files.remove(path)
    path.symlink_to(to)


@pytest.mark.parametrize("part", ["lock", "ledger.sqlite", "ledger.sqlite-wal", "tmp", "store"])
@pytest.mark.parametrize("to", ["victim", "victim/keep.txt", "nothing"])
def test_a_link_in_the_state_is_set_aside(part: str, to: str, out: Out, victim: Path) -> None:
    before = tree(victim)
    linked(out.folder / ".metagen" / part, victim.parent / to)
    out.build(text="other")
    collect_garbage(out.folder)
    assert tree(victim) == before
    assert not (victim.parent / "nothing").exists()
    assert out.tree()["a.txt"] == b"OTHER"


def test_a_linked_shelf_of_the_store_is_replaced(out: Out, victim: Path) -> None:
    shelf = out.folder / ".metagen" / "store" / files.sha256(b"OTHER")[:2]
    linked(shelf, victim)
    collect_garbage(out.folder)
    out.build(text="other")
    assert set(tree(victim)) == {"keep.txt", "other.new", "tmp/thesis.txt"}
    assert not shelf.is_symlink()


@pytest.mark.parametrize("to", ["victim", "nothing", ".."])
def test_linked_state_is_refused(to: str, out: Out, victim: Path) -> None:
    before = tree(victim)
    linked(out.folder / ".metagen", victim.parent / to)
    with pytest.raises(
        TaskError, match="This is a link; the state of an out folder must be a folder in it"
    ):
        out.build()
    assert tree(victim) == before


@pytest.mark.parametrize("part", ["", "/docs"])
def test_a_linked_folder_of_a_package_is_refused_or_moved_to_the_backups(
    part: str, out: Out, victim: Path
) -> None:
    before = tree(victim)
    linked(Path(f"{out.run}{part}"), victim)
    with pytest.raises(TaskError, match=f"{re.escape(str(out.run))}{part}: This is a link"):
        out.build(size=2)
    out.build(size=2, discard=True)
    assert tree(victim) == before
    assert out.tree()["docs/c.txt"] == b"5 of size 2"


def pipe(path: Path) -> None:
    files.remove(path)
    os.mkfifo(path)


def folder(path: Path) -> None:
    files.remove(path)
    path.mkdir()


def secret(path: Path) -> None:
    linked(path, Path("/etc/passwd"))


@pytest.mark.parametrize(("attack", "what"), [(pipe, "FIFO"), (folder, "folder"), (secret, "link")])
@pytest.mark.parametrize("path", ["a.txt", "docs/c.txt"])
def test_what_is_no_file_is_named_and_can_be_discarded(
    attack: Callable[[Path], None], what: str, path: str, out: Out
) -> None:
    attack(out.run / path)
    with pytest.raises(TaskError, match=f"{path}: This is a {what}, and no build made it") as told:
        out.build()
    assert "--discard-edits" in str(told.value)
    assert "tmp" not in str(told.value).replace(str(out.folder), "")
    clean = {"a.txt": b"HELLO", "b.txt": b"5", "docs/c.txt": b"5 of size 1"}
    out.build(discard=True)
    assert out.tree() == clean


@pytest.mark.parametrize("part", ["lock", "ledger.sqlite", "ledger.sqlite-wal", "store", "tmp"])
def test_a_pipe_in_the_state_is_set_aside(part: str, out: Out) -> None:
    pipe(out.folder / ".metagen" / part)
    out.build(text="other")
    assert out.tree()["a.txt"] == b"OTHER"


def test_a_pipe_in_the_store_counts_as_absent(out: Out) -> None:
    digest = files.sha256(b"HELLO")
    pipe(out.folder / ".metagen" / "store" / digest[:2] / digest[2:])
    (out.run / "a.txt").unlink()
    assert out.build()[0] == ["upper"]


def test_a_backup_goes_through_no_link(out: Out, victim: Path) -> None:
    before = tree(victim)
    (out.folder / ".metagen" / "backup").mkdir()
    (out.folder / ".metagen" / "backup" / "run-toy").symlink_to(victim)
    (out.run / "a.txt").write_bytes(b"mine")
    with pytest.raises(TaskError, match="A backup must be written here"):
        out.build(discard=True)
    assert tree(victim) == before
    assert out.tree()["a.txt"] == b"mine"


def test_an_own_file_named_new_is_never_taken(out: Out) -> None:
    beside = out.run / "a.txt.new"
    beside.write_bytes(b"mine")
    out.build(text="other")
    assert beside.read_bytes() == b"mine"
    (out.run / "a.txt").write_bytes(b"edited by hand")
    engine = out.build(text="conflict")[1]
    assert beside.read_bytes() == b"CONFLICT"
    assert engine.outputs.displaced == ["a.txt.new"]
    assert b"mine" in tree(out.folder / ".metagen" / "backup").values()


def test_a_new_text_that_a_person_began_to_merge_is_backed_up_or_stays(out: Out) -> None:
    beside = out.run / "a.txt.new"
    (out.run / "a.txt").write_bytes(b"edited by hand")
    assert out.build(text="first")[1].outputs.conflicts() == ["a.txt"]
    beside.write_bytes(b"half merged")
    assert out.build(text="second")[1].outputs.displaced == ["a.txt.new"]
    assert beside.read_bytes() == b"SECOND"
    assert b"half merged" in tree(out.folder / ".metagen" / "backup").values()
    beside.write_bytes(b"merged again")
    engine = out.build(text="second", discard=True)[1]
    assert beside.read_bytes() == b"merged again"
    assert engine.outputs.conflicts() == []


def test_the_new_text_of_a_conflict_goes_when_the_edit_is_discarded(out: Out) -> None:
    (out.run / "a.txt").write_bytes(b"edited by hand")
    out.build(text="first")
    out.build(text="first", discard=True)
    assert set(out.tree()) == {"a.txt", "b.txt", "docs/c.txt"}


def test_a_lost_state_leaves_a_backup_of_edits(out: Out) -> None:
    (out.run / "a.txt").write_bytes(b"edited by hand")
    files.remove(out.folder / ".metagen")
    assert out.build()[1].outputs.displaced == ["a.txt"]
    assert b"edited by hand" in tree(out.folder / ".metagen" / "backup").values()


def test_a_clean_without_state_removes_nothing(out: Out) -> None:
    files.remove(out.folder / ".metagen")
    (out.run / "a.txt").write_bytes(b"edited by hand")
    engine = out.build(ALL[2:], sweep=False)[1]
    assert engine.outputs.clean(UPPER) == []
    assert out.tree()["a.txt"] == b"edited by hand"
    assert engine.outputs.clean(ALL[2]) == ["docs/c.txt"]


def test_files_keep_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        Out(tmp_path / "out").build()
    finally:
        os.umask(before)
    modes = {p.stat().st_mode & 0o777 for p in (tmp_path / "out").rglob("*.txt")}
    assert modes == {0o640}


def photographs(folder: Path) -> Path:
    for name in ("sub/1.jpg", "sub/2.jpg", "runs/exp1/read.json", "store/ab/cd"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(KEPT)
    return folder


def test_garbage_is_collected_from_a_cache_only(tmp_path: Path) -> None:
    decoy = photographs(tmp_path / "decoy")
    before = tree(decoy)
    for option in ("--cache", "--out"):
        told = CliRunner().invoke(main, ["gc", option, str(decoy), "--keep", "1B"])
        assert told.exit_code == 2
        assert str(decoy) in told.output
    assert tree(decoy) == before
    assert not (decoy / ".metagen").exists()


def test_a_folder_with_other_files_does_not_become_a_cache(tmp_path: Path) -> None:
    decoy = photographs(tmp_path / "decoy")
    before = tree(decoy)
    with pytest.raises(UsageError, match="This folder is no cache: it holds 'sub'"):
        Out(tmp_path / "out", decoy).build()
    assert tree(decoy) == before


def test_a_cache_loses_its_own_entries_only(tmp_path: Path, victim: Path) -> None:
    cache = tmp_path / "cache"
    Out(tmp_path / "out", cache).build()
    own = set(tree(cache))
    assert "CACHEDIR.TAG" in own
    photographs(cache)
    (cache / "store" / "ab").rename(cache / "store" / "abc")
    (cache / "store" / "ff").mkdir(exist_ok=True)
    (cache / "store" / "ff" / ("0" * 62)).symlink_to(victim / "keep.txt")
    (cache / "runs" / ("0" * 64)).symlink_to(victim)
    assert Folder(cache).shrink(0) > 0
    kept = set(tree(cache))
    assert kept & own == {"CACHEDIR.TAG"}
    assert {"sub/1.jpg", "sub/2.jpg", "runs/exp1/read.json", "store/abc/cd"} < kept
    assert set(tree(victim)) == {"keep.txt", "other.new", "tmp/thesis.txt"}


@pytest.mark.parametrize("top", ["runs", "store", "tmp"])
def test_a_linked_folder_of_a_cache_is_refused(top: str, tmp_path: Path, victim: Path) -> None:
    cache = tmp_path / "cache"
    Out(tmp_path / "out", cache).build()
    before = tree(victim)
    linked(cache / top, victim)
    with pytest.raises(UsageError, match="A cache holds no links"):
        Out(tmp_path / "other", cache).build()
    with pytest.raises(UsageError, match="A cache holds no links"):
        Folder(cache).shrink(0)
    assert tree(victim) == before


def test_a_run_in_a_cache_that_names_other_outputs_is_not_restored(
    tmp_path: Path, victim: Path
) -> None:
    cache, before = tmp_path / "cache", tree(victim)
    Out(tmp_path / "out", cache).build()
    for path in cache.glob("runs/*/*/*.json"):
        if path.name != "read.json":
            body = path.read_text().partition("\n")[2]
            text = re.sub(r'"outputs":\{"[^"]*"', '"outputs":{"../../victim/keep.txt"', body)
            path.write_text(f"{files.sha256(text.encode())}\n{text}")
    assert Out(tmp_path / "other", cache).build()[0] == ["upper", "length", "report"]
    assert tree(victim) == before


@pytest.mark.parametrize("text", ["3", "[]", "{}", '{"outputs": 1, "shown": []}', "[" * 9999, "x"])
@pytest.mark.parametrize("name", ["read.json", "run"])
def test_a_malformed_cache_counts_as_empty(name: str, text: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    Out(tmp_path / "out", cache).build((UPPER,))
    for path in cache.glob("runs/*/*/*.json"):
        if (path.name == "read.json") == (name == "read.json"):
            path.write_text(f"{files.sha256(text.encode())}\n{text}")
    assert Out(tmp_path / "other", cache).build((UPPER,))[0] == ["upper"]


def deep(desk: Desk) -> dict[str, bytes]:
    return {"docs/deep/d.txt": b"deep"}


def test_an_orphan_behind_a_link_is_left_alone(out: Out, victim: Path) -> None:
    with_deep = (*ALL, Recipe("s:deep", deep, (), ("docs/deep/d.txt",), ""))
    out.build(with_deep)
    (victim / "d.txt").write_bytes(b"deep")
    linked(out.run / "docs" / "deep", victim)
    with suppress(TaskError):
        out.build()
    assert (victim / "d.txt").read_bytes() == b"deep"
