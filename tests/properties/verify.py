"""`metagen verify` tells a true package from any other, and never asks a cache or the state.

This needs real measurements, since verify builds by itself: the smallest spec is taken.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from metagen import paths

from .lab import Lab
from .tally import Tally

_METAGEN = str(Path(sys.executable).parent / "metagen")
_TAMPERED = ("README.md", "code/model.py", "paper/figures/cost.pdf")


def measure(lab: Lab) -> Tally:
    """Verify a fresh package, then tampered ones, beside a poisoned cache and without state."""
    tally = Tally("verify")
    tally.must_not("false alarms", "missed")
    spec = paths.specs() / "text" / "text_llm_tiny.yaml"
    with lab.folder() as folder:
        cache = folder / "cache"
        run = folder / "out" / "run-text_llm_tiny"
        built = _metagen(
            "synth", str(spec), "--out", str(folder / "out"), "bench=none", cache=cache
        )
        tally.check(built.returncode == 0, "false alarms", built.stderr[-300:])
        _poison(cache)
        for vary in ("nothing", "all"):
            result = _metagen("verify", str(run), "--vary", vary, cache=cache)
            tally.count("packages verified")
            label = f"--vary {vary}: {result.stdout[-300:]} {result.stderr[-300:]}"
            tally.check(result.returncode == 0, "false alarms", label)
        for path in lab.some(_TAMPERED, "verify"):
            _tampered(run, path, cache, tally)
    return tally


def _poison(cache: Path) -> None:
    """Write other bytes into every file of a cache."""
    for path in cache.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[::-1])


def _tampered(run: Path, path: str, cache: Path, tally: Tally) -> None:
    before = (run / path).read_bytes()
    (run / path).write_bytes(before.replace(b"e", b"E", 1))
    result = _metagen("verify", str(run), cache=cache)
    tally.count("packages tampered with")
    seen = result.returncode == 1 and path in result.stdout
    tally.check(seen, "missed", f"{path}: {result.returncode} {result.stdout[-300:]}")
    (run / path).write_bytes(before)


def _metagen(*arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"METAGEN_CACHE": str(cache)}
    return subprocess.run(
        [_METAGEN, *arguments], env=environment, capture_output=True, text=True, check=False
    )
