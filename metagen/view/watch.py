"""Waiting: for a spec to be saved, or for the user to end the program."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from metagen import files

_PAUSE = 0.3  # seconds between two looks at the files
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def until_ended() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C and its like set, in place of ending the process."""
    ended = threading.Event()
    before = {number: signal.getsignal(number) for number in _ENDING}
    for number in _ENDING:
        signal.signal(number, lambda *_: ended.set())
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def next_save(specs: Sequence[Path], seen: dict[Path, str], ended: threading.Event) -> list[Path]:
    """Wait until files have another content, and are no longer being written.

    Args:
        specs: The files; one that is missing for a moment is waited for.
        seen: Their content before, from `contents`; updated.
        ended: The user ends the program.

    Returns:
        The files that were saved; none if the user ended the program.
    """
    while not ended.wait(_PAUSE):
        now = contents(specs)
        saved = [path for path, digest in now.items() if digest != seen.get(path)]
        if saved and not ended.wait(_PAUSE) and now == contents(specs):
            seen.update(now)
            return saved
    return []


def contents(specs: Sequence[Path]) -> dict[Path, str]:
    """Return the sha256 of each file that is there."""
    found = {}
    for path in specs:
        try:
            found[path] = files.sha256(path.read_bytes())
        except OSError:
            continue
    return found


def rebuilding(
    specs: Sequence[Path], build: Callable[[], object], say: Callable[[str], None]
) -> None:
    """Build now, and again whenever a spec is saved, until the user ends the program.

    Ctrl-C during a build ends the process at once, as it does in every build.
    """
    seen = contents(specs)
    build()
    while True:
        with until_ended() as ended:
            say(f"watching {', '.join(map(str, specs))}; Ctrl-C ends this")
            saved = next_save(specs, seen, ended)
        if not saved:
            return
        say(f"{', '.join(map(str, saved))} was saved")
        build()
