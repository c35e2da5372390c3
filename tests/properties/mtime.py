"""Content decides, not time: edits that keep size and mtime, clocks set back, times that collide.

Each trick changes a file of the package (an edit by hand), a template, or a file that an edit
already made a source; the next build must see it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from . import inside
from .inside import Build
from .lab import Lab
from .tally import Tally

_SETTLED = 0.06  # seconds after which a stat signature may be trusted


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _same_time_and_size(path: Path, data: bytes) -> None:
    """Write as many bytes as there were, and set the time back."""
    stat = path.stat()
    path.write_bytes(data[: stat.st_size].ljust(stat.st_size))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _clock_set_back(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    os.utime(path, (1, 1))


def _future(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    os.utime(path, (2**32, 2**32))


def _copied_with_times(path: Path, data: bytes) -> None:
    """Put another file of the same size and time in its place, as `cp -p` or a checkout does."""
    stat, other = path.stat(), path.with_name("other")
    other.write_bytes(data[: stat.st_size].ljust(stat.st_size))
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(path)


def _within_a_float(path: Path, data: bytes) -> None:
    """Let the times differ by 100 ns, which a float of seconds cannot tell apart."""
    stat = path.stat()
    path.write_bytes(data[: stat.st_size].ljust(stat.st_size))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 100))


def _in_place(path: Path, data: bytes) -> None:
    """Write through an open handle, without making the file shorter first."""
    stat = path.stat()
    with path.open("r+b") as stream:
        stream.write(data[: stat.st_size])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


TRICKS: tuple[Callable[[Path, bytes], None], ...] = (
    _write, _same_time_and_size, _clock_set_back, _future, _copied_with_times, _within_a_float,
    _in_place,
)  # fmt: skip


def measure(lab: Lab) -> Tally:
    """Play every trick on every kind of file, with signatures settled and at once."""
    tally = Tally("mtime")
    tally.must_not("missed")
    cases = [(trick, settled) for trick in TRICKS for settled in (True, False)]
    for trick, settled in lab.progress("mtime", lab.some(cases, "mtime"), str):
        label = f"{trick.__name__.strip('_')}{'' if settled else ', at once'}"
        with lab.folder() as folder, inside.shipped(folder) as shipped:
            before = lab.begin(folder / "out", lab.specs[-1])
            _rest(settled, folder, lab)
            _output(label, trick, settled, folder, lab, before, tally)
            _template(label, trick, shipped, folder, lab, tally)
    return tally


def _rest(settled: bool, folder: Path, lab: Lab) -> None:
    """Wait, and build once more, so that stat signatures are kept."""
    if settled:
        time.sleep(_SETTLED)
        inside.build(folder / "out", lab.specs[-1])
        time.sleep(_SETTLED)


def _output(
    label: str, trick: Callable[[Path, bytes], None], settled: bool, folder: Path, lab: Lab,
    before: Build, tally: Tally,
) -> None:  # fmt: skip
    """Edit a card by hand, twice: the manifest must have the sha256 of each edit."""
    name = f"run-{lab.specs[-1].stem}/docs/data_card.md"
    path = folder / "out" / name
    for word in (b"first", b"other"):
        trick(path, before.tree[name].replace(b"a", word[:1]))
        built = inside.build(folder / "out", lab.specs[-1])
        tally.count("edits")
        seen = "manifest:manifest" in built.log.ran and "docs/data_card.md, kept" in built.said
        tally.check(seen, "missed", f"{label}: an output, {built.said[-200:]}")
        _rest(settled, folder, lab)


def _template(
    label: str, trick: Callable[[Path, bytes], None], shipped: Path, folder: Path, lab: Lab,
    tally: Tally,
) -> None:  # fmt: skip
    path = shipped / "templates" / "cards" / "limitations.md"
    trick(path, path.read_bytes().replace(b"the", b"THE"))
    built = inside.build(folder / "out", lab.specs[-1])
    tally.count("edits")
    tally.check("docs:limitations" in built.log.ran, "missed", f"{label}: a template")
