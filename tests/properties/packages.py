"""Packages, out folders and caches from strangers: any entry in any place, any row of a record.

`verify` accepts none that was changed, and a build changes nothing beside its out folder. Neither
waits for anything, and whatever is wrong is an error with a sentence.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from metagen import files
from metagen.engine import ledger, verify
from metagen.engine.binding import NOTHING
from metagen.engine.cache import Folder
from metagen.engine.workspace import collect_garbage
from metagen.errors import MetagenError
from tests.helpers.toy import Out, clean_build, write_package

from .lab import Lab
from .tally import Tally

FULL = 2000  # cases of each half
LIMIT = 60  # seconds after which something counts as waiting
_SECRET = b"a secret of the victim"
_LONG = "x" * 255

NAMES = st.sampled_from(
    ["a", "__pycache__", "build", ".git", "-rf", "a b",
     "\n", "\x1b[2J", "é", "模型", _LONG, "torch",
     "model", "x.pyc", "x.py", "numpy.so", "a.txt", "a.txt.new", "\udcff", "GNUmakefile", "docs"]
)  # fmt: skip
PLACES = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
KINDS = st.sampled_from(
    ["file", "folder", "full folder", "link to a file", "link to a folder", "link to nothing",
     "link upwards", "FIFO", "gone"]
)  # fmt: skip
# Where a build writes.
_WRITTEN = (
    "out/run-toy", "out/run-toy/docs", "out/run-toy/a.txt", "out/run-toy/docs/c.txt",
    "out/.metagen", "out/.metagen/lock", "out/.metagen/ledger.sqlite", "out/.metagen/tmp",
    "out/.metagen/ledger.sqlite-wal", "out/.metagen/store", "out/.metagen/backup/run-toy",
    "cache/runs", "cache/store", "cache/tmp", "cache/CACHEDIR.TAG",
)  # fmt: skip
# Paths as a stranger may write them into a manifest, a ledger or a cache.
PATHS = st.one_of(
    PLACES,
    st.sampled_from(
        ["", ".", "..", "/", "../..", "a/../../../victim/kept", "../../victim/kept", "a//b", "./a",
         "/etc/passwd", "a\0b", "\ud800", "x/" * 2000 + "x", "../victim/kept.new", "~/x", "a.txt"]
    ),
)  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.just([]), st.just({}),
    st.just([[], {}, {}]), st.just(2**70), st.floats(allow_nan=False),
)  # fmt: skip


def measure(lab: Lab) -> Tally:
    """Draw changes of packages for `verify`, and of out folders for builds."""
    tally = Tally("packages")
    tally.must_not("accepted", "false alarms", "waiting", "own mistakes", "touched", "read")
    return lab.apart(tally, _of_some, lab.shares(range(lab.size(FULL))))


def _of_some(lab: Lab, share: range) -> Tally:
    tally = Tally("packages")
    rules = settings(
        max_examples=len(share), deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    for case in (_verify, _build):

        @seed(f"{lab.seed}:{share[0]}")
        @rules
        @given(data=st.data())
        def draw(case: Callable[..., None], data: st.DataObject) -> None:
            with lab.folder() as folder:
                case(folder, data, tally)

        draw(case)
    return tally


def _verify(folder: Path, data: st.DataObject, tally: Tally) -> None:
    """Change a package; `verify` must accept it only if it is what it was."""
    package, victim = write_package(folder / "package"), _victim(folder)
    clean = shutil.copytree(package, folder / "clean")
    before = _seen(package)
    steps = data.draw(st.lists(st.sampled_from([_put, _put, _manifest]), max_size=3))
    told = [step(package, victim, data) for step in steps]
    changed, label = _seen(package) != before, "; ".join(told)
    tally.count("packages verified")
    tally.count("packages changed", int(changed))
    with clean_build(clean), _watched(tally, label) as ended:
        found = list(verify.verify(package, vary=False, binding=NOTHING, unbuilt=[]))
        ended.append(True)
        tally.check(bool(found) or not changed, "accepted", label)
        tally.check(not found or changed, "false alarms", f"{label}: {found}")
        tally.check(not any(_SECRET.decode() in line for line in found), "read", label)


def _build(folder: Path, data: st.DataObject, tally: Tally) -> None:
    """Change an out folder and its cache; nothing may change beside them."""
    victim = _victim(folder)
    out = Out(folder / "out", folder / "cache")
    out.build()
    out.build(text="other")
    ways = st.sampled_from([_put_in_out, _put_in_the_way, _put_in_the_way, _forge, _forge_run])
    steps = data.draw(st.lists(ways, min_size=1, max_size=3))
    label = "; ".join(step(out, victim, data) for step in steps)
    before, beside = _seen(victim), _names(folder)
    for act in (
        lambda: out.build(),
        lambda: out.build(text="third"),
        lambda: collect_garbage(out.folder),
        lambda: Folder(folder / "cache").shrink(0),
        lambda: out.build(text="other", discard=True),
    ):
        tally.count("builds of changed out folders")
        with _watched(tally, label) as ended:
            act()
            ended.append(True)
    tally.check(_seen(victim) == before, "touched", label)
    tally.check(_names(folder) == beside, "touched", f"{label}: {_names(folder)}")


@contextmanager
def _watched(tally: Tally, label: str) -> Iterator[list[bool]]:
    """Count how some work ends: well, in a sentence, in a mistake of its own, or never."""

    def late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT)
    ended: list[bool] = []
    try:
        yield ended
    except MetagenError as error:
        tally.count("sentences")
        tally.check(all(p.sentence for p in error.problems), "own mistakes", f"{label}: no words")
    except TimeoutError:
        tally.violated("waiting", label)
    except OSError as error:
        # The command turns this into a sentence, which names the file.
        tally.check(bool(error.filename), "own mistakes", f"{label}: {error!r}")
    except Exception as error:
        tally.violated("own mistakes", f"{label}: {error!r}")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _victim(folder: Path) -> Path:
    victim = folder / "victim"
    (victim / "tmp").mkdir(parents=True)
    for name in ("kept", "kept.new", "tmp/kept", "x.py"):
        (victim / name).write_bytes(_SECRET)
    return victim


def _seen(folder: Path) -> dict[str, tuple[int, int, Any]]:
    """Return kind, size and content or target of each entry below a folder, links not followed."""
    entries = {}
    for above, inner, names in os.walk(folder):
        for name in (*inner, *names):
            path = Path(above, name)
            seen = path.lstat()
            content: Any = path.is_symlink() and path.readlink()
            if not path.is_symlink() and path.is_file():
                content = path.read_bytes()
            entries[str(path.relative_to(folder))] = (seen.st_mode, seen.st_size, content)
    return entries


def _put(root: Path, victim: Path, data: st.DataObject) -> str:
    """Put an entry of some kind in a place that is new or taken."""
    taken = sorted(str(p.relative_to(root)) for p in root.rglob("*"))
    path = data.draw(st.one_of(st.sampled_from(taken), PLACES) if taken else PLACES)
    return _placed(root, path, data.draw(KINDS), victim)


def _placed(root: Path, path: str, kind: str, victim: Path) -> str:
    place = root / path
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        files.remove(place)
        _make(place, kind, victim)
    except OSError as error:
        return f"nothing: {error.strerror}"
    return f"{kind} at {path!r}"


def _make(place: Path, kind: str, victim: Path) -> None:
    targets = {"file": victim / "kept", "folder": victim, "nothing": victim / "nothing"}
    if kind == "file":
        place.write_bytes(b"of a stranger")
    elif kind.endswith("folder") and "link" not in kind:
        place.mkdir()
        if kind == "full folder":
            (place / "__init__.py").write_bytes(b"")
    elif kind == "link upwards":
        place.symlink_to("../..")
    elif kind.startswith("link"):
        place.symlink_to(targets[kind.rpartition(" ")[2]])
    elif kind == "FIFO":
        os.mkfifo(place)


def _manifest(package: Path, victim: Path, data: st.DataObject) -> str:
    """Change a field of a row of the manifest, or add a row."""
    place = package / "manifest.json"
    if not place.is_file():
        return "no manifest"
    try:
        rows = json.loads(place.read_bytes())
        chosen = rows[data.draw(st.integers(0, len(rows) - 1))]
        field = data.draw(st.sampled_from([*chosen, "all"]))
    except (ValueError, TypeError, LookupError):
        return "no rows"
    value = data.draw(PATHS if field == "path" else VALUES)
    if field == "all":
        rows.append(value)
    elif data.draw(st.booleans()):
        del chosen[field]
    else:
        chosen[field] = value
    place.write_text(json.dumps(rows))
    return f"{field} of a row is {value!r}"


def _put_in_out(out: Out, victim: Path, data: st.DataObject) -> str:
    root = data.draw(st.sampled_from([out.folder, out.run, out.folder / ".metagen", out.cache]))
    return _put(root, victim, data) if root and root.is_dir() else "nothing"


def _put_in_the_way(out: Out, victim: Path, data: st.DataObject) -> str:
    """Put a link or a FIFO in a place that a build writes to."""
    kinds = ("link to a file", "link to a folder", "link to a folder", "link to nothing", "FIFO")
    kind, path = data.draw(st.sampled_from(kinds)), data.draw(st.sampled_from(_WRITTEN))
    return _placed(out.folder.parent, path, kind, victim)


def _forge(out: Out, victim: Path, data: st.DataObject) -> str:
    """Put a row of any kind, name and content with a right checksum into the ledger."""
    kind = data.draw(st.sampled_from(["written", "trace", "past", "stat"]))
    path = data.draw(PATHS)
    name = {"written": path, "stat": ""}.get(kind, "s:upper")
    digest = data.draw(st.sampled_from([files.sha256(_SECRET), files.sha256(b"HELLO"), "", "../x"]))
    bodies = {"written": ["s:upper", digest, digest], "stat": {path: [[1, 2, 3, 4], digest]}}
    trace = [[], {path: digest, "a.txt": digest}, {path: digest}]
    body = data.draw(st.one_of(st.just(bodies.get(kind, trace)), VALUES))
    return _insert(out, kind, name, body)


def _forge_run(out: Out, victim: Path, data: st.DataObject) -> str:
    """Let the newest run of a task have made another file, whose content is in the store."""
    place = out.folder / ".metagen" / "ledger.sqlite"
    if not place.is_file() or place.is_symlink():
        return "no ledger"
    with closing(ledger.Ledger(place)) as rows:
        newest = rows.rows("run-toy", "trace").get("s:upper")
    try:
        reads, outputs, inputs = newest
        outputs[data.draw(PATHS)] = files.sha256(b"OTHER")
    except (TypeError, ValueError):
        return "no run"
    return _insert(out, "trace", "s:upper", [reads, outputs, inputs])


def _insert(out: Out, kind: str, name: str, body: Any) -> str:
    place = out.folder / ".metagen" / "ledger.sqlite"
    text = files.canonical(body)
    try:
        mark = ledger._checksum("run-toy", kind, name, text)
        with closing(sqlite3.connect(f"file:{place}?mode=rw", uri=True)) as raw, raw:
            raw.execute(
                "insert or replace into row values(?,?,?,?,?)", ("run-toy", kind, name, text, mark)
            )
    except (sqlite3.Error, UnicodeEncodeError) as error:
        return f"nothing: {error}"
    return f"row {kind} {name[:60]!r} {text[:80]}"
