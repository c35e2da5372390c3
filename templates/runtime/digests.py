"""Digests, which identify data and decide the split of each sample."""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from runtime.splits import SPLITS

S = TypeVar("S")  # a sample

THREADS = min(16, os.cpu_count() or 1)  # hashing releases Python's lock


def digest(*parts: bytes) -> str:
    """Return the sha256 of the parts, joined."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()


def uniform(text: str) -> float:
    """Return a number from 0 to 1 that depends on the text alone and is evenly distributed."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def split_of(key: str, val_fraction: float, test_fraction: float) -> str:
    """Return the split of a sample by a digest of its key.

    The key alone decides: samples with equal keys are in one split, and adding data moves no old
    sample to another split.
    """
    place = uniform(key)
    if place < test_fraction:
        return "test"
    return "val" if place < test_fraction + val_fraction else "train"


def divided(
    samples: Iterable[S], key: Callable[[S], str], val_fraction: float, test_fraction: float
) -> dict[str, list[S]]:
    """Return samples by split; a digest of the key decides, so new samples move no old ones."""
    splits: dict[str, list[S]] = {split: [] for split in SPLITS}
    for sample in samples:
        splits[split_of(key(sample), val_fraction, test_fraction)].append(sample)
    return splits


def file_digests(paths: Sequence[Path]) -> list[str]:
    """Return the sha256 of each file's bytes, read by several threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda path: digest(path.read_bytes()), paths))


def files_digest(paths: Sequence[Path], names: Sequence[str]) -> str:
    """Return the sha256 of the names and the bytes of some files."""
    pairs = zip(names, file_digests(paths), strict=True)
    return digest(*(f"{name}\0".encode() + bytes.fromhex(each) for name, each in pairs))
