"""Digests: what identifies data, and what decides which split a sample belongs to."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

THREADS = min(16, os.cpu_count() or 1)  # hashing lets go of Python's lock


def digest(*parts: bytes) -> str:
    """Return the sha256 of some data, one part after the other."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()


def uniform(text: str) -> float:
    """Return a number from 0 to 1 that looks random, and is always the same for the same text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def split_of(key: str, val_fraction: float, test_fraction: float) -> str:
    """Return the split of a sample by a digest of its key.

    The key alone decides: samples with one key stay together, and when data is added, none of the
    old samples moves from one split to another.
    """
    place = uniform(key)
    if place < test_fraction:
        return "test"
    return "val" if place < test_fraction + val_fraction else "train"


def file_digests(paths: Sequence[Path]) -> list[str]:
    """Return the sha256 of each file's bytes, read by several threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda path: digest(path.read_bytes()), paths))


def files_digest(paths: Sequence[Path], names: Sequence[str]) -> str:
    """Return the sha256 of the names and the bytes of some files."""
    pairs = zip(names, file_digests(paths), strict=True)
    return digest(*(f"{name}\0".encode() + bytes.fromhex(each) for name, each in pairs))
