"""Bytes on disk: digests, canonical text forms, and writes that are never seen half done."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

_BRIEF = 80  # characters


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


def set_aside(path: Path) -> None:
    """Rename a damaged file or folder, in the place of what was set aside before it."""
    aside = path.with_name(f"{path.name}.damaged")
    shutil.rmtree(aside) if aside.is_dir() else aside.unlink(missing_ok=True)
    path.rename(aside)


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
    handle, temporary = tempfile.mkstemp(dir=scratch)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
