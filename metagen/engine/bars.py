"""Progress bars on a terminal."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import IO, Any


class Bar:
    """A progress bar that appears at the first report of progress, on a real terminal only."""

    def __init__(self, label: str, stream: IO[str]) -> None:
        self._label, self._stream = label, stream
        self._bar: Any = None

    def move(self, done: int, total: int, note: str = "") -> None:
        if not self._stream.isatty():
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(desc=f"  {self._label}", total=total, leave=False, dynamic_ncols=True)
        self._bar.set_postfix_str(note, refresh=False)
        if done == self._bar.n:
            self._bar.refresh()  # An update by nothing shows no new note.
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def aside(stream: IO[str]) -> AbstractContextManager[None]:
    """Return a context in which all bars leave their line to what is printed on a stream."""
    tqdm = sys.modules.get("tqdm")  # Without it there is no bar, and its import takes long.
    mode: AbstractContextManager[None] = (
        tqdm.tqdm.external_write_mode(stream) if tqdm else nullcontext()
    )
    return mode
