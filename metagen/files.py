"""Bytes on disk: digests, canonical text forms, and writes that are never seen half done.

A folder may come from a stranger, so a link in it may lead anywhere, and a FIFO may never end. What
reads or writes below such a folder asks `obstacle` first, and reads with `read_plain`.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import yaml

_BRIEF = 80  # characters
_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}


def sha256(data: bytes) -> str:
    """Return the sha256 of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def canonical(value: Any) -> str:
    """Return the one JSON text of a value, so that equal values and types compare equal."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def brief(value: Any) -> str:
    """Return the canonical text of a value for people, cut short."""
    text = canonical(value)
    return text if len(text) <= _BRIEF else f"{text[: _BRIEF - 1]}…"


def json_bytes(value: Any) -> bytes:
    """Return JSON for people: indented, in the order given, with a final newline."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def yaml_bytes(value: Any) -> bytes:
    """Return YAML in the order given, strings quoted where YAML would read them otherwise."""
    text = yaml.dump(value, Dumper=yaml.SafeDumper, sort_keys=False, allow_unicode=True, width=100)
    return text.encode()


def kind(mode: int) -> str:
    """Return what has a mode of `os.lstat`, such as "a file", "a folder", "a link" or "a FIFO"."""
    return _KINDS.get(stat.S_IFMT(mode), "a device")


def is_inside(name: str) -> bool:
    """Tell whether a name is a relative path in normal form, which leads nowhere but downwards."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in name and not {"", ".", ".."} & set(name.split("/"))


def obstacle(root: Path, name: str) -> str:
    """Return the path of what keeps `root/name` from being a plain file in plain folders.

    That is the first part, from the root down, that is a link, a device, a FIFO or a socket, a file
    where a folder must be, or a folder where the file must be. It is "" if there is none; what is
    missing is no obstacle.

    Args:
        root: A folder; what is above it is not looked at.
        name: A path below it, for which `is_inside` holds.
    """
    *folders, leaf = name.split("/")
    path = str(root)
    for part, right in (("", stat.S_IFDIR), *((f, stat.S_IFDIR) for f in folders), (leaf, 0)):
        path = f"{path}/{part}" if part else path
        try:
            found = stat.S_IFMT(os.lstat(path).st_mode)
        except FileNotFoundError:
            return ""
        if found != (right or stat.S_IFREG):
            return path
    return ""


def read_plain(path: Path, limit: int | None = None) -> bytes:
    """Return the content of a regular file.

    Args:
        path: The file; the folders above it are not looked at.
        limit: The largest size, in bytes; None for any.

    Raises:
        OSError: It is a link, a folder, a device, a FIFO or a socket, or it is too large.
    """
    with open_plain(path, limit) as stream:
        return stream.read()


def open_plain(path: Path, limit: int | None = None) -> io.BufferedReader:
    """Open a regular file for reading; see `read_plain`."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    _must_be_regular(path, path.lstat(), limit)  # A device may act when it is opened.
    stream = os.fdopen(os.open(path, flags), "rb")
    try:
        _must_be_regular(path, os.fstat(stream.fileno()), limit)
    except OSError:
        stream.close()
        raise
    return stream


def sha256_of(path: Path) -> str:
    """Return the sha256 of a regular file of any size, which is not loaded; see `read_plain`."""
    with open_plain(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _must_be_regular(path: Path, found: os.stat_result, limit: int | None) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, f"This is {kind(found.st_mode)}, not a file", str(path))
    if limit is not None and found.st_size > limit:
        sentence = f"This file has {found.st_size:,} bytes, more than {limit:,}"
        raise OSError(errno.EFBIG, sentence, str(path))


def set_aside(path: Path) -> None:
    """Rename what is damaged, in the place of what was set aside before; no link is followed."""
    aside = path.with_name(f"{path.name}.damaged")
    remove(aside)
    path.rename(aside)


def remove(path: Path) -> None:
    """Remove a folder with all that is in it, or anything else; a link is removed, not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes, scratch: Path, *, durable: bool = True) -> None:
    """Write a file so that a reader, or a kill, sees the old bytes or the new, never a part.

    Args:
        path: Where; missing folders are made.
        data: What.
        scratch: A folder of the same file system, for the bytes on their way; what a kill leaves
            there is of no use to anybody.
        durable: Wait until the bytes would survive a power cut too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch.mkdir(parents=True, exist_ok=True)
    temporary = scratch / os.urandom(8).hex()
    # The mode is what the umask leaves of it, as for a file that any other program makes.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
