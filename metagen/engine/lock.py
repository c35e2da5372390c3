"""One build at a time in an out folder; the lock dies with the process that holds it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from metagen import files
from metagen.errors import LockedError, Problem


@contextmanager
def locked(path: Path, *, wait: bool, on_wait: str = "") -> Iterator[None]:
    """Hold an out folder for the time of a build.

    Args:
        path: The file to lock, in the engine's own folder.
        wait: Wait for another build to end; otherwise fail at once.
        on_wait: Text for the terminal when waiting begins.

    Raises:
        LockedError: Another build holds the folder and `wait` is False.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():  # damage: nobody makes one
        with suppress(OSError):  # another build was faster
            files.set_aside(path)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise LockedError(
                    Problem(
                        "Another build is running here.", str(path.parent.parent), "Wait for it."
                    )
                ) from None
            print(on_wait, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
