"""Files too large to load, such as weights: linked, copied or moved into place, never half done."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from metagen import files
from metagen.engine.signatures import but_ctime, settled, signature_of
from metagen.errors import Problem, TaskError
from metagen.work import Large

_BLOCK = 2**22  # bytes read at once
_WORTH_WAITING = 2**24  # bytes that take longer to hash than two ticks of a clock


def put(large: Large, target: Path, scratch: Path, sources: Mapping[str, list[int]]) -> list[int]:
    """Put a file into place; a reader, or a kill, sees the old file or the new, never a part.

    A hard link and its source are one file. train.py replaces a checkpoint by renames and never
    writes into one, so the next checkpoint leaves the linked weights as they are.

    Args:
        large: The file: below `scratch`, from where it is moved, or one of `sources`.
        target: Where; missing folders are made.
        scratch: A folder of the same file system.
        sources: The signature of each file that may be linked, when its sha256 was taken.

    Returns:
        The signature of the file in place; [] if a later write might not change it.

    Raises:
        TaskError: The file changed since its sha256 was taken.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if large.path.is_relative_to(scratch):
        with files.open_plain(large.path) as stream:
            os.fsync(stream.fileno())
        large.path.replace(target)
    else:
        with _temporary(scratch) as path:
            _link(large, path, sources[str(large.path)])
            path.replace(target)
    return settled(target) if target.lstat().st_size >= _WORTH_WAITING else []


def back_up(path: Path, backup: Path, scratch: Path) -> None:
    """Copy a file of any size to the backups, as a hard link where that is possible.

    What replaces the file afterwards is renamed into its place, so the backup stays as it is.
    """
    backup.parent.mkdir(parents=True, exist_ok=True)
    with _temporary(scratch) as new:
        try:
            os.link(path, new, follow_symlinks=False)
        except OSError:
            _copy(path, new)
        new.replace(backup)


@contextmanager
def _temporary(scratch: Path) -> Iterator[Path]:
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / os.urandom(8).hex()
    try:
        yield path
    finally:
        # A rename onto another link of the same file does nothing, and leaves both names.
        path.unlink(missing_ok=True)


def _link(large: Large, path: Path, signature: list[int]) -> None:
    """Make a hard link, or a copy where the file system has none, of an unchanged file."""
    try:
        os.link(large.path, path, follow_symlinks=False)
    except OSError:  # Another file system, one without links, or a file of another user.
        same = _copy(large.path, path) == large.sha256
    else:
        same = but_ctime(signature_of(path.lstat())) == but_ctime(signature)
    if not same:
        hint = "wait until the program that writes it has ended, and run the same command again"
        raise TaskError(Problem("This file changed while it was read.", str(large.path), hint))


def _copy(source: Path, target: Path) -> str:
    """Copy a regular file down to the disk; return the sha256 of what was copied."""
    total = hashlib.sha256()
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    with files.open_plain(source) as stream, os.fdopen(handle, "wb") as output:
        while block := stream.read(_BLOCK):
            total.update(block)
            output.write(block)
        output.flush()
        os.fsync(output.fileno())
    return total.hexdigest()
