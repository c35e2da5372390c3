"""The folder of a training run, bound to a package: read by content, linked, never followed."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest
from helpers.toy import RUNS, FakeSpec, Out, Unchanged
from helpers.trained_run import WEIGHTS, write_run

from metagen import files
from metagen.engine import lint, query, session
from metagen.engine.binding import Binding
from metagen.engine.graph import Graph
from metagen.engine.ledger import Ledger
from metagen.engine.terminal import BuildReport
from metagen.engine.workspace import Snapshots
from metagen.errors import TaskError, UsageError, from_system
from metagen.work import Desk, Large, Output, Recipe


def state(desk: Desk) -> dict[str, bytes]:
    RUNS.append("state")
    try:
        return {"trained/state.json": desk.trained("checkpoint/state.json")}
    except LookupError:
        return {"trained/state.json": b"not trained"}


def weights(desk: Desk) -> Mapping[str, Output]:
    RUNS.append("weights")
    return {"release/w": Large(desk.trained_place(WEIGHTS), desk.trained_digest(WEIGHTS))}


STATE = Recipe("t:state", state, (), ("trained/state.json",), "")
LINKED = Recipe("t:weights", weights, (), ("release/w",), "")
BOTH = (STATE, LINKED)


@pytest.fixture
def out(tmp_path: Path) -> Out:
    return Out(tmp_path / "out", trained=write_run(tmp_path / "full_run"))


def test_a_checkpoint_is_linked_and_a_second_build_does_nothing(out: Out) -> None:
    assert out.build(BOTH)[0] == ["state", "weights"]
    assert out.trained
    assert (out.run / "release/w").samefile(out.trained / WEIGHTS)
    assert out.build(BOTH)[0] == []


def test_a_new_checkpoint_rebuilds_what_read_it_and_leaves_the_old_link(out: Out) -> None:
    out.build(BOTH)
    old = (out.run / "release/w").read_bytes()
    kept = (out.run / "release/w").open("rb")
    assert out.trained
    write_run(out.trained, steps=400)
    assert (out.run / "release/w").read_bytes() == old
    assert out.build(BOTH)[0] == ["state", "weights"]
    assert kept.read() == old
    assert (out.run / "release/w").read_bytes() == (out.trained / WEIGHTS).read_bytes()


def test_without_a_binding_everything_says_so(out: Out) -> None:
    out.trained = None
    assert out.build((STATE,))[0] == ["state"]
    assert out.tree() == {"trained/state.json": b"not trained"}


def copied(desk: Desk) -> Mapping[str, Output]:
    RUNS.append("copied")
    place = desk.scratch() / "converted"
    place.write_bytes(desk.trained_place(WEIGHTS).read_bytes()[::-1])
    small = f"{len(desk.trained_names('checkpoint'))} files".encode()
    return {"release/c": Large(place, ""), "release/index": small}


COPIED = Recipe("t:copied", copied, (), ("release/c", "release/index"), "")


def given(desk: Desk) -> dict[str, bytes]:
    RUNS.append("given")
    return {"r.txt": "\n".join(f"{name} {len(data)}" for name, data in desk.results()).encode()}


GIVEN = Recipe("t:given", given, (), ("r.txt",), "")


def test_a_file_from_the_scratch_folder_is_moved_and_hashed(out: Out) -> None:
    assert out.build((COPIED,))[0] == ["copied"]
    assert out.trained
    data = (out.run / "release/c").read_bytes()
    assert data == (out.trained / WEIGHTS).read_bytes()[::-1]
    assert (out.run / "release/index").read_bytes() == b"3 files"
    assert not list((out.folder / ".metagen/tmp").iterdir())
    assert files.sha256(data) not in stored(out)
    assert out.build((COPIED,))[0] == []


def stored(out: Out) -> set[str]:
    store = out.folder / ".metagen/store"
    return {path.parent.name + path.name for path in store.rglob("*") if path.is_file()}


def test_places_are_absolute_in_an_out_folder_of_the_current_folder(
    out: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[Path] = []

    def placed(desk: Desk) -> dict[str, bytes]:
        places.extend((desk.place("release/c"), desk.trained_place(WEIGHTS), desk.scratch()))
        return {"x": b""}

    out.folder.mkdir()
    monkeypatch.chdir(out.folder)
    here = Out(Path(), trained=out.trained)
    here.build((COPIED, Recipe("t:x", placed, ("release/c",), ("x",), "")))
    assert all(place.is_absolute() for place in places)
    assert places[0] == out.run / "release/c"


def test_a_deleted_large_file_comes_back_by_a_run(out: Out) -> None:
    out.build(BOTH)
    (out.run / "release/w").unlink()
    assert out.build(BOTH)[0] == ["weights"]
    assert (out.run / "release/w").is_file()


def test_a_large_file_goes_to_another_file_system_as_a_copy(
    out: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", mock.Mock(side_effect=OSError(errno.EXDEV, "elsewhere")))
    out.build(BOTH)
    assert out.trained
    assert not (out.run / "release/w").samefile(out.trained / WEIGHTS)
    assert (out.run / "release/w").read_bytes() == (out.trained / WEIGHTS).read_bytes()
    assert out.build(BOTH)[0] == []


def test_a_full_disk_leaves_the_old_weights(out: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    out.build(BOTH)
    old = (out.run / "release/w").read_bytes()
    assert out.trained
    write_run(out.trained, steps=400)
    full = mock.Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", full)
        patch.setattr("metagen.engine.large._copy", full)
        with pytest.raises(OSError, match="No space"):
            out.build(BOTH)
    assert (out.run / "release/w").read_bytes() == old
    assert out.build(BOTH)[0] == ["weights"]


def test_an_edited_large_file_is_kept_named_and_never_merged(out: Out) -> None:
    out.build(BOTH)
    edit(out.run / "release/w", b"by hand")
    _, engine = out.build(BOTH)
    assert engine.outputs.edits() == ["release/w"]
    assert out.trained
    write_run(out.trained, steps=400)
    _, engine = out.build(BOTH)
    assert (out.run / "release/w").read_bytes() == b"by hand"
    assert (out.run / "release/w.new").read_bytes() == (out.trained / WEIGHTS).read_bytes()
    assert engine.outputs.conflicts() == ["release/w"]


def edit(path: Path, data: bytes) -> None:
    """Write a file as an editor does that replaces it: the link to the checkpoint ends."""
    path.unlink()
    path.write_bytes(data)


def test_discarded_edits_of_a_large_file_go_to_the_backups_without_a_copy(out: Out) -> None:
    out.build(BOTH)
    edit(out.run / "release/w", b"by hand")
    inode = (out.run / "release/w").stat().st_ino
    out.build(BOTH, discard=True)
    assert out.trained
    assert (out.run / "release/w").samefile(out.trained / WEIGHTS)
    (backup,) = (out.folder / ".metagen/backup").rglob("w.*")
    assert (backup.read_bytes(), backup.stat().st_ino) == (b"by hand", inode)


def test_unbinding_removes_the_release(out: Out) -> None:
    out.build(BOTH)
    out.trained = None
    assert out.build((STATE,))[0] == ["state"]
    assert out.tree() == {"trained/state.json": b"not trained"}


def test_a_task_with_large_outputs_is_not_in_the_cache(tmp_path: Path) -> None:
    trained = write_run(tmp_path / "full_run")
    first = Out(tmp_path / "a", tmp_path / "cache", trained)
    assert first.build((LINKED, COPIED, STATE))[0] == ["weights", "copied", "state"]
    second = Out(tmp_path / "b", tmp_path / "cache", trained)
    assert second.build((LINKED, COPIED, STATE))[0] == ["weights", "copied"]


def test_only_the_files_that_changed_run_their_readers(out: Out) -> None:
    out.build(BOTH)
    assert out.trained
    (out.trained / "scores.json").write_text("{}")
    assert out.build(BOTH)[0] == []
    (out.trained / "checkpoint/state.json").write_text('{"step": 300, "more": 1}')
    assert out.build(BOTH)[0] == ["state"]


def test_a_cause_names_the_steps_of_the_checkpoint(out: Out) -> None:
    out.build(BOTH)
    assert out.trained
    write_run(out.trained, steps=400)
    _, engine = out.build(BOTH)
    reason = engine.outcomes["t:weights"].reason
    assert reason == f"{WEIGHTS} of full_run changed (step 300 -> 400)"


def test_weights_are_hashed_once(out: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    time.sleep(0.1)
    out.build((LINKED,))
    time.sleep(0.1)
    out.build((LINKED,))  # now the signatures after the hard link are trusted
    hashed: list[Path] = []
    real = files.sha256_of
    monkeypatch.setattr(files, "sha256_of", lambda path: (hashed.append(path), real(path))[1])
    assert out.build((LINKED,))[0] == []
    assert hashed == []
    assert out.trained
    weights = out.trained / WEIGHTS
    times, data = weights.stat(), weights.read_bytes()
    weights.write_bytes(data[::-1])
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert out.build((LINKED,))[0] == ["weights"]


@pytest.mark.parametrize("what", ["link", "fifo", "folder", "link to a folder"])
def test_what_is_no_file_in_a_training_folder_is_refused_by_name(out: Out, what: str) -> None:
    assert out.trained
    path = out.trained / WEIGHTS
    target = path.rename(out.folder.parent / "elsewhere")
    if what == "link":
        path.symlink_to(target)
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    else:
        aside = path.parent.rename(out.folder.parent / "checkpoint")
        target.rename(aside / path.name)
        path.parent.symlink_to(aside)
    with pytest.raises(TaskError, match="a training run is read from files and folders only"):
        out.build((LINKED,))
    assert not (out.run / "release/w").exists()


@pytest.fixture
def unhashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no large file be hashed, which would take minutes."""
    hashed = files.sha256_of

    def of_small(path: Path) -> str:
        assert path.stat().st_size < 2**30, path
        return hashed(path)

    monkeypatch.setattr(files, "sha256_of", of_small)


def make_huge(path: Path) -> Path:
    """Put a file of 300 GB without content in a place."""
    path.unlink(missing_ok=True)
    with path.open("wb") as stream:
        stream.truncate(300 * 10**9)
    return path


@pytest.mark.usefixtures("unhashed")
def test_a_huge_file_without_content_is_refused_at_once(out: Out) -> None:
    assert out.build(BOTH)[0] == ["state", "weights"]
    assert out.trained
    make_huge(out.trained / WEIGHTS)
    with pytest.raises(TaskError, match=r"This is no \.safetensors file"):
        out.build((LINKED,))
    make_huge(out.trained / "checkpoint/state.json")
    with pytest.raises(TaskError, match=r"This file has 300,000,000,000 bytes, more than"):
        out.build((STATE,))
    out.results = (make_huge(out.folder.parent / "results.json"),)
    with pytest.raises(TaskError, match=r"This file has 300,000,000,000 bytes, more than"):
        out.build((GIVEN,))


def test_a_training_inside_the_run_folder_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    out = Out(tmp_path / "out", trained=write_run(tmp_path / "out/run-toy/full_run"))
    assert out.trained
    before = {p: p.read_bytes() for p in out.trained.rglob("*") if p.is_file()}
    assert out.build(BOTH)[0] == ["state", "weights"]
    assert out.build(BOTH)[0] == []
    assert {p: p.read_bytes() for p in out.trained.rglob("*") if p.is_file()} == before


def test_a_link_to_a_training_binds_the_folder_and_a_loop_is_refused(tmp_path: Path) -> None:
    run, link, loop = write_run(tmp_path / "full_run"), tmp_path / "link", tmp_path / "loop"
    link.symlink_to(run)
    loop.symlink_to(loop)
    assert Binding.of(link, (link,)) == Binding(run, (run,))
    for given in ((loop, ()), (run, (loop,)), (loop / "inside", ())):
        with pytest.raises(UsageError, match="This link leads back to itself"):
            Binding.of(*given)


def test_what_is_neither_a_file_nor_a_folder_is_bound_to_nothing(tmp_path: Path) -> None:
    run = write_run(tmp_path / "full_run")
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero"), run / "run.json" / "inside"):
        with pytest.raises(UsageError, match="training folder is gone, or is no folder"):
            Binding(path).check()
        with pytest.raises(UsageError, match="gone, or are neither a file nor a folder"):
            Binding(run, (path,)).check()


@pytest.mark.parametrize("what", ["os.scandir", "os.open"])
def test_what_may_not_be_read_is_named(
    out: Out, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    assert out.trained
    plain = {"os.scandir": os.scandir, "os.open": os.open}[what]

    def guarded(path: str | Path, *rest: int, **more: int) -> object:
        if "full_run" in str(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return plain(path, *rest, **more)  # type: ignore[operator]

    monkeypatch.setattr(what, guarded)
    with pytest.raises(TaskError, match="Permission denied") as error, from_system():
        out.build((COPIED,))
    assert "full_run" in error.value.problems[0].place


def test_a_folder_that_may_not_be_searched_is_named(
    out: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path) -> os.stat_result:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    bound = Binding(out.trained)
    monkeypatch.setattr(Path, "stat", refused)
    with pytest.raises(TaskError, match="Permission denied"):
        bound.check()


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a//b", "."])
def test_a_path_out_of_the_training_folder_is_refused(out: Out, path: str) -> None:
    recipe = Recipe("t:out", lambda desk: {"x": desk.trained(path)}, (), ("x",), "")
    with pytest.raises(TaskError, match="no path below a training folder"):
        out.build((recipe,))


def test_a_checkpoint_that_changes_while_a_task_reads_it_ends_the_build(out: Out) -> None:
    def changing(desk: Desk) -> Mapping[str, Output]:
        made = weights(desk)
        assert out.trained
        write_run(out.trained, steps=400)
        return made

    recipe = Recipe("t:weights", changing, (), ("release/w",), "")
    with pytest.raises(TaskError, match="This file changed while it was read"):
        out.build((recipe,))
    assert not (out.run / "release/w").exists()


def test_a_training_that_still_runs_is_refused(out: Out) -> None:
    assert out.trained
    lock = out.trained / ".checkpoint.train-lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TaskError, match="still writes to this folder"):
            Binding.of(out.trained, ()).check()
    Binding.of(out.trained, ()).check()  # A killed training leaves the file, and not the lock.


def test_results_are_read_below_folders_and_named_apart(out: Out, tmp_path: Path) -> None:
    for place in ("one/lm_eval", "two/lm_eval"):
        (tmp_path / place / "inner").mkdir(parents=True)
        (tmp_path / place / "inner" / "results.json").write_text("{}")
        (tmp_path / place / "samples.jsonl").write_text("{}")
    (tmp_path / "stated.txt").write_text("1")
    out.results = (tmp_path / "one/lm_eval", tmp_path / "two/lm_eval", tmp_path / "stated.txt")
    assert out.build((GIVEN,))[0] == ["given"]
    names = ["lm_eval/inner/results.json", "lm_eval-2/inner/results.json", "stated.txt"]
    assert (out.run / "r.txt").read_text().split()[::2] == names
    (tmp_path / "one/lm_eval/later.json").write_text("{}")
    assert out.build((GIVEN,))[0] == ["given"]
    assert out.build((GIVEN,))[0] == []


def test_a_dry_run_keeps_large_files_where_they_are(out: Out, tmp_path: Path) -> None:
    made = in_memory_build(out, (LINKED, COPIED))
    assert made["release/w"] == (out.trained or tmp_path) / WEIGHTS
    assert not made["release/c"].exists()  # It was below a scratch folder, which is gone.
    assert not out.folder.exists()


def test_a_program_of_a_dry_run_sees_a_whole_folder(out: Out) -> None:
    seen: list[dict[str, bytes]] = []

    def program(desk: Desk) -> dict[str, bytes]:
        folder = desk.place("release/w").parent
        seen.append({path.name: path.read_bytes() for path in folder.iterdir()})
        return {"x": b""}

    check = Recipe("t:check", program, ("release/w",), ("x",), "")
    in_memory_build(out, (LINKED, COPIED, check))
    out.build((LINKED, COPIED, check))
    in_memory_build(
        out, (LINKED, COPIED, check, Recipe("t:more", program, ("release/w",), ("x",), ""))
    )
    assert seen[0].keys() == {"w", "c", "index"}
    assert seen == [seen[0]] * 3


def in_memory_build(out: Out, recipes: tuple[Recipe, ...]) -> dict[str, Path]:
    bound = Binding.of(out.trained, ())
    graph = Graph(FakeSpec(), "run-toy", recipes, (), bound)  # type: ignore[arg-type]
    with session.in_memory(out.folder, [graph]) as (engine,):
        engine._environment = Unchanged(None)  # type: ignore[arg-type]
        for recipe in recipes:
            engine.build(recipe, lambda *_: None)
        folder = engine.workspace.folder
        places = {path: folder.place_of(path).resolve() for path in ("release/w", "release/c")}
        assert folder.digest("release/c") == files.sha256_of(places["release/c"])
        return places


def test_the_lint_lets_a_task_open_what_its_desk_gave_it_and_nothing_else(out: Out) -> None:
    def looking(desk: Desk) -> dict[str, bytes]:
        place = desk.trained_place(WEIGHTS)
        (desk.scratch() / "x").write_bytes(place.read_bytes())
        return {"x": str(place.stat().st_size).encode()}

    def straying(desk: Desk) -> dict[str, bytes]:
        place = desk.trained_place(WEIGHTS)
        return {"x": (place.parent / "config.json").read_bytes()}

    assert out.build((Recipe("t:x", looking, (), ("x",), ""),), guard=lint.watched)
    with pytest.raises(TaskError, match=r"this opens a file: .*config\.json"):
        out.build((Recipe("t:y", straying, (), ("x",), ""),), guard=lint.watched)


def test_why_and_impact_name_what_is_bound(out: Out) -> None:
    _, engine = out.build(BOTH)
    lines = [line for _, line in query.why(engine, "release/w")]
    assert lines[1:] == [f"trained: {WEIGHTS} step 300"]
    reached = list(query.impact(engine, "trained:checkpoint/state.json"))
    assert reached == [("trained/state.json", "trained:checkpoint/state.json")]


def test_a_snapshot_holds_until_something_bound_changes(out: Out) -> None:
    assert out.trained
    time.sleep(0.1)
    _, engine = out.build(BOTH)
    time.sleep(0.1)
    looked = engine.training.signatures()
    assert looked
    report = BuildReport("fake.yaml", 0, 0, 2, (), (), (), ())
    spec = out.folder.parent / "spec.yaml"
    spec.write_text("")

    def matches() -> bool:
        with closing(Ledger(out.folder / ".metagen" / "ledger.sqlite")) as ledger:
            snapshots = Snapshots(out.folder, ledger, "")
            if not ledger.rows("run-toy", "snapshot"):
                snapshots.save(spec, files.sha256(b""), "run-toy", {}, looked, report)
            return snapshots.match(spec) is not None

    assert matches()
    state = out.trained / "checkpoint" / "state.json"
    state.write_bytes(state.read_bytes() + b" ")
    assert not matches()
