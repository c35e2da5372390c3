"""What is bound to a package: the folder of a training run, and files of results.

A binding is no key of the spec, since the folder differs from machine to machine. It is a row of
the ledger, by run folder, which `metagen release` writes and every later build of the run uses.
"""

from __future__ import annotations

import fcntl
import json
import stat
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from metagen import files
from metagen.engine.ledger import Ledger
from metagen.engine.workspace import StateFolder
from metagen.errors import Problem, TaskError, UsageError, from_system
from metagen.measure.results import FULL_MODEL, NOT_TRAINED

_LARGEST = 2**20  # bytes of `FULL_MODEL` that are looked at
_KIND = "binding"
_HINT = "name the folder with metagen release SPEC --trained DIR, or remove the binding: --unbind"


@dataclass(frozen=True)
class Binding:
    """What is bound to one run folder.

    Attributes:
        trained: The folder that train.py wrote, absolute; None if none is bound.
        results: Files of results, or folders of them, absolute.
        every: Whether all files of such a folder count, and not only those of results.
    """

    trained: Path | None = None
    results: tuple[Path, ...] = ()
    every: bool = False

    @classmethod
    def of(cls, trained: Path | None, results: Iterable[Path]) -> Binding:
        """Return the binding of some paths of a command line, which may be links.

        Raises:
            UsageError: A path is a link that leads back to itself.
        """
        return cls(trained and _resolved(trained), tuple(map(_resolved, results)))

    @property
    def name(self) -> str:
        """The name of the training folder for messages; "" without one."""
        return self.trained.name if self.trained else ""

    @property
    def is_here(self) -> bool:
        """Whether everything that is bound exists."""
        return all(path.exists() for path in self.paths)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Everything that is bound."""
        return (*([self.trained] if self.trained else ()), *self.results)

    def check(self) -> None:
        """Refuse a binding whose folder or files are gone, or still written.

        Raises:
            UsageError: A path does not exist, or is neither a file nor a folder.
            TaskError: The training still runs.
        """
        if self.trained and not _is_of(self.trained, stat.S_ISDIR):
            sentence = "The bound training folder is gone, or is no folder."
            raise UsageError(Problem(sentence, str(self.trained), _HINT))
        for path in self.results:
            if not _is_of(path, lambda mode: stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                sentence = "The bound results are gone, or are neither a file nor a folder."
                raise UsageError(Problem(sentence, str(path), "name others with --results"))
        # train.py locks the folder of its checkpoint by this file beside it (`runtime/lock.py`).
        if self.trained and _is_held(self.trained / ".checkpoint.train-lock"):
            sentence = "A training still writes to this folder."
            hint = "wait until it ends, or stop it: it can be resumed"
            raise TaskError(Problem(sentence, str(self.trained), hint))


NOTHING = Binding()


def bound_in(out: Path, run: str) -> Binding | None:
    """Return what the ledger of an out folder has bound to a run; None if it says nothing.

    A binding that was removed is `NOTHING`.
    """
    return all_in(out).get(run)


def all_in(out: Path) -> dict[str, Binding]:
    """Return what the ledger of an out folder has bound, by run."""
    path = StateFolder(out).ledger
    if not path.is_file():
        return {}
    with closing(Ledger.copy(path)) as ledger:
        pairs = ((run, read(ledger, out, run)) for run in ledger.runs())
        return {run: binding for run, binding in pairs if binding}


@dataclass(frozen=True)
class Change:
    """What a command line asks to bind.

    Attributes:
        trained: The training folder; None to keep that of the ledger.
        results: The results.
        unbind: Bind nothing.
    """

    trained: Path | None = None
    results: tuple[Path, ...] = ()
    unbind: bool = False

    def over(self, out: Path, specs: Sequence[Path]) -> Callable[[str], Binding]:
        """Return what is bound to each run after this change of an out folder.

        Raises:
            UsageError: The options contradict each other, or would bind one training to several
                specs. The function raises it where there is nothing to release.
        """
        self._must_be_possible(specs)

        def bound(run: str) -> Binding:
            known = bound_in(out, run) or NOTHING
            binding = NOTHING if self.unbind else _with_ladder(self._changed(known), out, run)
            binding.check()
            if not self.unbind and binding.trained is None and not binding.results:
                sentence = f"No training is bound to {run}."
                hint = "name the folder that train.py wrote with --trained DIR"
                raise UsageError(Problem(sentence, str(out), hint))
            return binding

        return bound

    def _changed(self, known: Binding) -> Binding:
        """Return the new binding: results belong to one training folder, and go with it."""
        if self.trained is None and not self.results:
            return known
        new = Binding.of(self.trained, self.results)
        return new if self.trained else Binding(known.trained, new.results)

    def _must_be_possible(self, specs: Sequence[Path]) -> None:
        named = self.trained is not None or bool(self.results)
        if named and self.unbind:
            raise UsageError(Problem("--unbind takes no --trained and no --results."))
        if named and len(specs) != 1:
            sentence = f"A training belongs to one spec, and {len(specs)} are given."
            raise UsageError(Problem(sentence, hint="name the file of one spec"))


def _with_ladder(binding: Binding, out: Path, run: str) -> Binding:
    """Return a binding with the forecast that `metagen ladder` registered beside the run folder."""
    folder = out.resolve() / f"ladder-{run.removeprefix('run-')}"
    if folder in binding.results or not (folder / "forecast.json").is_file():
        return binding
    return Binding(binding.trained, (*binding.results, folder))


def read(ledger: Ledger, out: Path, run: str) -> Binding | None:
    """Return what a ledger has bound to a run; None if it says nothing."""
    match ledger.rows(run, _KIND).get(""):
        case {"trained": str() | None as trained, "results": list(results)} if all(
            isinstance(each, str) for each in results
        ):
            # A path inside the out folder is relative to it, so the folder can be moved.
            return Binding(
                None if trained is None else out.resolve() / trained,
                tuple(out.resolve() / each for each in results),
            )
    return None


def write(ledger: Ledger, out: Path, run: str, binding: Binding) -> None:
    """Bind to a run; its snapshot no longer holds."""
    body = {
        "trained": binding.trained and _stored(out, binding.trained),
        "results": [_stored(out, path) for path in binding.results],
    }
    ledger.put(run, [(_KIND, "", body), ("snapshot", "", None)], durable=True)


def must_be_known(out: Path, run: str) -> None:
    """Refuse a package that tells of a trained model of which the ledger knows nothing.

    A build would silently make it the package of an untrained model.

    Raises:
        UsageError: It does.
    """
    if tells_of_training(out / run):
        sentence = "This package tells of a trained model, and no training folder is bound to it."
        raise UsageError(Problem(sentence, str(out / run / FULL_MODEL), _HINT))


def tells_of_training(run: Path) -> bool:
    """Tell whether the package in a run folder says that its model was trained."""
    if files.obstacle(run, FULL_MODEL):
        return False
    try:
        status = json.loads(files.read_plain(run / FULL_MODEL, _LARGEST))["status"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False
    return bool(status != NOT_TRAINED)


def _stored(out: Path, path: Path) -> str:
    root = out.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # Python 3.13 resolves a loop to itself.
        sentence = "This link leads back to itself."
        raise UsageError(Problem(sentence, str(path), "name the folder itself")) from None


def _is_of(path: Path, is_kind: Callable[[int], bool]) -> bool:
    """Tell whether a path is of some kind.

    Raises:
        TaskError: A folder above it may not be searched.
    """
    with from_system():
        try:
            return is_kind(path.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False


def _is_held(lock: Path) -> bool:
    """Tell whether another process holds a lock; what is no file is no lock."""
    try:
        with files.open_plain(lock) as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
