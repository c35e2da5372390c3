"""Stat signatures: a file whose signature is unchanged need not be read again."""

from __future__ import annotations

import os
import time
from pathlib import Path

# A file whose times are this recent may change again within one tick of the file system's clock and
# keep its times, so its signature is not saved and the next look reads its content.
_RACY_NS = 50_000_000
Known = dict[str, tuple[list[int], str]]


def signature_of(seen: os.stat_result) -> list[int]:
    """Return mtime, ctime, size and inode: ctime moves with every write, even if mtime is reset."""
    return [seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size, seen.st_ino]


def is_settled(signature: list[int]) -> bool:
    """Tell whether a file's times are so old that a later write would change its signature."""
    return time.time_ns() - max(signature[:2]) > _RACY_NS


def settled(path: Path) -> list[int]:
    """Return the signature of a file after waiting until a later write would change it."""
    signature = signature_of(path.lstat())
    if not is_settled(signature):
        time.sleep(2 * _RACY_NS / 1e9)
    return signature_of(path.lstat())


def but_ctime(signature: list[int]) -> list[int]:
    """Return the parts of a signature that a new hard link, or a rename, leaves as they are."""
    mtime, _, size, inode = signature
    return [mtime, size, inode]
