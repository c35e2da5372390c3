"""Tables of measurements, each row under a time limit and all under one."""

import contextlib
import gc
import signal
import time
from collections.abc import Callable, Iterable, Iterator

import torch

Cells = tuple[str, ...]
Row = tuple[str, float, Callable[[], Cells]]  # name, seconds at most, and what measures it


class NotRun(Exception):
    """A row that this run leaves out."""


class Limit:
    """Stops a piece of work at its own time limit, or at that of all work together."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    @contextlib.contextmanager
    def at_most(self, seconds: float) -> Iterator[None]:
        """Raise TimeoutError in the work inside after some seconds, on the main thread."""
        left = min(seconds, self.end - time.monotonic())
        if left <= 0:
            raise TimeoutError("no time is left")

        def stop(*_: object) -> None:
            raise TimeoutError(f"stopped after {left:.3g} s")

        before = signal.signal(signal.SIGALRM, stop)
        # The alarm rings again, because a destructor or a callback may swallow an exception.
        signal.setitimer(signal.ITIMER_REAL, left, 5)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def table(head: Cells, rows: Iterable[Row], limit: Limit) -> None:
    """Print a table of Markdown row by row; a row that fails says why."""
    print(f"\n| {' | '.join(head)} |\n|{' --- |' * len(head)}", flush=True)
    for name, seconds, work in rows:
        cells = guarded(work, seconds, limit)
        cells += ("-",) * (len(head) - 1 - len(cells))
        print(f"| {' | '.join((name, *cells))} |", flush=True)


def guarded(work: Callable[[], Cells], seconds: float, limit: Limit) -> Cells:
    """Return the cells of a row, or a sentence on what went wrong, and free its memory."""
    try:
        with limit.at_most(seconds):
            return work()
    except NotRun as reason:
        return (str(reason),)
    except Exception as error:
        said = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        return (f"not measured: {said.replace('|', '/')}",)
    finally:
        torch.compiler.reset()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
