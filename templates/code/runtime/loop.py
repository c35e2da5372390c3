"""The training loop: updates, validation, metrics, checkpoints, and a clean stop."""

import contextlib
import json
import math
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from tqdm import tqdm

from runtime.errors import fail


def fit(
    steps: range,
    take_step: Callable[[int], tuple[float, float]],
    validate: Callable[[], float],
    save: Callable[[int], None],
    metrics: Path,
    eval_every: int,
    save_every: int,
) -> None:
    """Train; Ctrl-C ends the current step, saves, and exits with status 130.

    Args:
        steps: The steps to take, counted from 0.
        take_step: Takes a step; returns its training loss and learning rate.
        validate: Returns the loss on the validation split.
        save: Saves a checkpoint after a number of steps.
        metrics: JSON lines of what was measured after each step.
        eval_every: Steps from one validation to the next; the last step always has one.
        save_every: Steps from one checkpoint to the next; the last step always has one.
    """
    _keep_lines(metrics, steps.start)
    bar = tqdm(steps, initial=steps.start, total=steps.stop, disable=not sys.stderr.isatty())
    with interrupts() as signals, metrics.open("a", encoding="utf-8") as log:
        for done in (step + 1 for step in bar):
            loss, learning_rate = take_step(done - 1)
            if not math.isfinite(loss):
                fail(f"the loss is {loss} at step {done}: lower --learning-rate.")
            last = done == steps.stop
            val_loss = validate() if last or done % eval_every == 0 else None
            row = {"step": done, "train_loss": loss, "val_loss": val_loss}
            print(json.dumps(row | {"learning_rate": learning_rate}), file=log, flush=True)
            bar.set_postfix(loss=f"{loss:.3f}")
            if val_loss is not None:
                line = f"step {done}/{steps.stop}: train loss {loss:.3f}, validation {val_loss:.3f}"
                tqdm.write(line, file=sys.stderr)
            if last or signals or done % save_every == 0:
                save(done)
            if signals and not last:
                tqdm.write(f"stopped at step {done}, saved: --resume goes on.", file=sys.stderr)
                raise SystemExit(130)


@contextlib.contextmanager
def interrupts() -> Iterator[list[int]]:
    """Collect Ctrl-C in a list, so that a step is never cut in two; a second one does cut."""
    signals: list[int] = []

    def collect(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = signal.signal(signal.SIGINT, collect)
    try:
        yield signals
    finally:
        signal.signal(signal.SIGINT, previous)


def _keep_lines(metrics: Path, count: int) -> None:
    """Drop the lines of steps after a checkpoint: a resumed run takes those steps again."""
    text = metrics.read_text(encoding="utf-8") if metrics.exists() else ""
    metrics.write_text("".join(text.splitlines(keepends=True)[:count]), encoding="utf-8")
