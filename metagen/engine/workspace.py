"""The out folder: its lock, the engine's state in `.metagen/`, snapshots of finished builds.

A build of a whole package ends with a *snapshot*. While the text of the spec, the settings beside
it, metagen's own files and the installed libraries are unchanged, and no file of the package was
written since, no task can have work to do. So the next build compares the snapshot, and neither
reads the spec nor makes the graph.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from metagen import files, paths
from metagen.engine.digest import installed
from metagen.engine.folder import RunFolder
from metagen.engine.ledger import Ledger, RunLedger
from metagen.engine.memory import MemoryFolder
from metagen.engine.signatures import signature_of
from metagen.engine.store import MemoryStore, Store
from metagen.engine.terminal import BuildReport
from metagen.errors import LockedError, Problem, TaskError, UsageError

# The lock is opened without following a link, waiting for a FIFO or losing what it may hold.
_LOCK = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class StateFolder:
    """The paths of `.metagen/` in an out folder, which may come from a stranger.

    Raises:
        TaskError: It is a link, so that what a build writes there would land elsewhere.

    Attributes:
        root: The folder.
        ledger: The file of the ledger.
        lock: The file that a build holds.
        scratch: Files being written; what a killed build left there is deleted by the next.
        store: The root of the store.
    """

    def __init__(self, out: Path) -> None:
        self.root = out / ".metagen"
        self.ledger = self.root / "ledger.sqlite"
        self.lock = self.root / "lock"
        self.scratch = self.root / "tmp"
        self.store = self.root / "store"
        if self.root.is_symlink():
            sentence = "This is a link; the state of an out folder must be a folder in it."
            raise TaskError(Problem(sentence, str(self.root), "Remove the link, or move it away."))

    def make(self) -> None:
        """Make the folder; what is there in place of a file or a folder is damage and set aside."""
        self.root.mkdir(parents=True, exist_ok=True)
        for part, is_right in (
            (self.lock, stat.S_ISREG),
            (self.store, stat.S_ISDIR),
            (self.scratch, stat.S_ISDIR),
            (self.root / "backup", stat.S_ISDIR),
        ):
            # Another build may have set it aside first.
            with suppress(FileNotFoundError):
                if not is_right(part.lstat().st_mode):
                    part.rename(part.with_name(f"{part.name}.damaged-{time.time_ns()}"))

    def backups(self, run: str) -> Path:
        """Return the folder of the backups of a run folder."""
        return self.root / "backup" / run


@dataclass(frozen=True)
class Workspace:
    """What an engine reads and writes: a run folder, its records, and the store."""

    folder: RunFolder
    records: RunLedger
    store: Store

    @classmethod
    def on_disk(cls, out: Path, run: str, ledger: Ledger) -> Workspace:
        state = StateFolder(out)
        records = RunLedger(ledger, run)
        folder = RunFolder(out / run, state.backups(run), state.scratch, records.signatures("stat"))
        return cls(folder, records, Store(state.store, state.scratch))

    @classmethod
    def in_memory(
        cls, out: Path, run: str, ledger: Ledger, scratch: Callable[[], Path]
    ) -> Workspace:
        """Return a workspace that starts from the disk and never changes it.

        Args:
            out: The out folder.
            run: The run folder.
            ledger: A copy, from `Ledger.copy`.
            scratch: Returns a folder for large files.
        """
        records = RunLedger(ledger, run)
        folder = MemoryFolder(out / run, records.signatures("stat"), scratch)
        return cls(folder, records, MemoryStore(StateFolder(out).store))


@contextmanager
def locked(out: Path, *, wait: bool) -> Iterator[StateFolder]:
    """Hold the lock of an out folder, so that one build at a time changes it.

    The operating system releases the lock when the process ends, however it ends.

    Args:
        out: The out folder.
        wait: Wait for another build to end; otherwise fail at once.

    Raises:
        LockedError: Another build holds the folder and `wait` is False.
    """
    state = StateFolder(out)
    state.make()
    with os.fdopen(os.open(state.lock, _LOCK, 0o666)) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                problem = Problem("Another build is running here.", str(out), "Wait for it to end.")
                raise LockedError(problem) from None
            print(f"waiting for another build in {out} to end", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        shutil.rmtree(state.scratch, ignore_errors=True)  # A killed build may have left files.
        yield state


def fingerprint(settings: Sequence[str | None]) -> str:
    """Return the digest of all that a build depends on besides its specs and its out folder.

    It is taken before a build reads anything: a snapshot must not match after a change that was
    made while the build ran.

    Args:
        settings: Overrides and the name of the run folder.
    """
    parts = [*settings, platform.python_version(), sorted(installed().items()), _own_files()]
    return files.sha256(files.canonical(parts).encode())


def _own_files() -> list[tuple[str, list[int]]]:
    """Return the stat signature of each file of metagen and its templates."""
    roots = dict.fromkeys((str(paths.PACKAGE), str(paths.templates())))
    return sorted(
        (path, _signature(path, os.stat)) for root in roots for path in _files_below(root)
    )


def _files_below(root: str) -> Iterator[str]:
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if name != "__pycache__"]
        yield from (f"{folder}/{name}" for name in names)


def _signature(path: str, look: Callable[[str], os.stat_result]) -> list[int]:
    try:
        return signature_of(look(path))
    except OSError:
        return []


class Snapshots:
    """The snapshots of the packages of one out folder.

    A row "request" leads from a spec and a fingerprint to a run folder, and a row "snapshot" from
    the run folder to the request that it answers, the signatures of its files and the report.
    """

    def __init__(self, out: Path, ledger: Ledger, fingerprint: str) -> None:
        self._out = out
        self._ledger = ledger
        self._fingerprint = fingerprint

    def match(self, spec: Path) -> tuple[str, BuildReport] | None:
        """Return the run folder and the report of a spec whose package is unchanged."""
        try:
            request = self._request(spec, files.sha256(spec.read_bytes()))
        except OSError:
            return None
        run = str(self._ledger.rows("", "request", request).get(request, ""))
        snapshot = self._ledger.rows(run, "snapshot").get("") if run else None
        # Another spec, or other settings, may have filled the same folder since.
        if not snapshot or snapshot["request"] != request:
            return None
        folder = str(self._out / run)
        made = {f"{folder}/{path}": known for path, known in snapshot["files"].items()}
        # What is bound to the package lies anywhere, by its absolute path.
        looked = (made | snapshot["bound"]).items()
        if any(_signature(path, os.lstat) != known for path, known in looked):
            return None
        report = snapshot["report"]
        warnings = tuple(Problem(**problem) for problem in report.pop("warnings"))
        return run, BuildReport(**report, warnings=warnings)

    def save(
        self,
        spec: Path,
        sha256: str,
        run: str,
        signatures: Mapping[str, Any],
        bound: Mapping[str, Any],
        report: BuildReport,
    ) -> None:
        """Save the snapshot of a package.

        Args:
            spec: The spec's file.
            sha256: Digest of the spec's text as it was built.
            run: The run folder.
            signatures: The stat signature of each file when its digest was taken.
            bound: That of each bound file and folder that a task looked at; [] for a missing one.
            report: The report to show while the snapshot matches.
        """
        request = self._request(spec, sha256)
        before = self._ledger.rows(run, "snapshot").get("", {}).get("request")
        body = {"request": request, "files": signatures, "bound": bound, "report": asdict(report)}
        self._ledger.put(run, [("snapshot", "", body)])
        outdated = [("request", before, None)] if before and before != request else []
        self._ledger.put("", [("request", request, run), *outdated])

    def _request(self, spec: Path, sha256: str) -> str:
        return files.sha256(f"{self._fingerprint} {spec} {sha256}".encode())


def unchanged(
    out: Path, specs: Iterable[Path], fingerprint: str, *, wait: bool
) -> dict[Path, tuple[str, BuildReport]]:
    """Return the run folder and the report of each spec that a build has nothing to do for.

    Args:
        out: The out folder.
        specs: Spec files.
        fingerprint: The `fingerprint` of this build.
        wait: Wait for another build to end; otherwise fail at once.

    Raises:
        LockedError: Another build holds the folder and `wait` is False.
    """
    if not StateFolder(out).ledger.is_file():
        return {}
    with locked(out, wait=wait) as state, closing(Ledger(state.ledger)) as ledger:
        snapshots = Snapshots(out, ledger, fingerprint)
        return {spec: match for spec in specs if (match := snapshots.match(spec))}


def spec_files(places: Iterable[Path]) -> list[Path]:
    """Return the spec files that some paths name; folders are searched, in a fixed order.

    Raises:
        UsageError: A folder has no spec.
    """
    specs: list[Path] = []
    for place in places:
        inside = sorted(p for p in place.rglob("*") if p.suffix in {".yaml", ".yml", ".json"})
        if place.is_dir() and not inside:
            raise UsageError(Problem("There is no spec here.", str(place)))
        specs += inside if place.is_dir() else [place]
    return specs


@dataclass(frozen=True)
class Shard:
    """One of the equal shares of many specs that several machines take."""

    number: int
    count: int

    @classmethod
    def of(cls, text: str) -> Shard:
        """Read `2/4`.

        Raises:
            UsageError: There is no such shard.
        """
        number, _, count = text.partition("/")
        whole = all(part.isascii() and part.isdigit() for part in (number, count))
        if not whole or not 1 <= int(number) <= int(count):
            hint = "Write K/N, such as 2/4: the second of four."
            raise UsageError(Problem(f"There is no shard {text!r}.", "--shard", hint))
        return cls(int(number), int(count))

    def take(
        self, specs: Iterable[Path], overrides: Sequence[str], run_id: str | None
    ) -> list[Path]:
        """Return the specs of this shard: every `count`-th, in the order of their paths.

        Raises:
            UsageError: Two specs, which may be in two shards, would fill one folder.
        """
        every = sorted(specs)
        if run_id is not None or any(each.startswith("name=") for each in overrides):
            hint = "Leave --run-id and name= out; each package is named by its spec."
            raise UsageError(Problem("All shards would fill one folder.", "--shard", hint))
        _must_differ(every)
        return every[self.number - 1 :: self.count]

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def _must_differ(specs: Iterable[Path]) -> None:
    """Check the names of specs, of which a machine loads only its own.

    Raises:
        UsageError: Two have the same name.
    """
    from metagen.spec.reader import of_top  # A build with nothing to do reads no spec.

    seen: dict[str, Path] = {}
    for spec in specs:
        name = of_top(spec, "name")
        # A name that refers to other keys is known only when its spec is loaded.
        run = paths.slug(name) if name and "${" not in name else str(spec)
        if run in seen:
            sentence = f"{seen[run]} and {spec} would both be built in run-{run}."
            raise UsageError(Problem(sentence, str(spec), "Give each spec a name of its own."))
        seen[run] = spec


def collect_garbage(out: Path) -> int:
    """Delete records of run folders that no longer exist, and outputs that no record refers to.

    Returns:
        The number of bytes freed.

    Raises:
        UsageError: The folder has no state, so it is no out folder.
    """
    if not StateFolder(out).root.is_dir():
        raise UsageError(Problem("No build has used this folder.", str(out), "Name an out folder."))
    with locked(out, wait=True) as state, closing(Ledger(state.ledger)) as ledger:
        digests: set[str] = set()
        for run in ledger.runs():
            if (out / run).is_dir():
                digests |= RunLedger(ledger, run).digests()
            else:
                ledger.forget(run)
        return Store(state.store, state.scratch).keep_only(digests)
