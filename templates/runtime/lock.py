"""A lock on the folders of a run, so that two runs never write to the same one."""

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from runtime.distributed import rank
from runtime.errors import fail


@contextlib.contextmanager
def locked(folders: Iterable[Path]) -> Iterator[None]:
    """Hold the lock of each folder, or stop if another process holds one.

    The system releases a lock when its process ends, however that happens. Only the first of the
    processes that train together takes locks.
    """
    with contextlib.ExitStack() as held:
        for folder in sorted({folder.resolve() for folder in folders}) if rank() == 0 else ():
            held.enter_context(_locked(folder))
        yield


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    path = folder.with_name(f".{folder.name}.train-lock")
    new = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _taken(path)
    if file is None:
        fail(
            f"another training uses {folder}: wait until it ends, or name another folder with "
            "--out and --checkpoint."
        )
    try:
        yield
    finally:
        # A file that is removed before it is released is one that nobody else has locked.
        path.unlink(missing_ok=True)
        os.close(file)
        # A run that is refused leaves no empty folder.
        with contextlib.suppress(OSError):
            if new:
                path.parent.rmdir()


def _taken(path: Path) -> int | None:
    """Return a locked file, or None if another process holds the lock."""
    while True:
        # Following a link would create or lock a file elsewhere.
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        # The holder before may have removed this file after it was opened here.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), path.stat()):
                return file
        os.close(file)
