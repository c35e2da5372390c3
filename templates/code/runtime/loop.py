"""The training loop: updates, validation, metrics, checkpoints, and a clean stop."""

import json
import math
import signal
import sys
from collections.abc import Callable
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
    signals: list[int] = []

    def note_signal(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C does not wait

    signal.signal(signal.SIGINT, note_signal)
    _keep_lines(metrics, steps.start)
    interactive = sys.stderr.isatty()
    bar = tqdm(steps, initial=steps.start, total=steps.stop, disable=not interactive, unit="step")
    with metrics.open("a", encoding="utf-8") as log:
        for step in bar:
            loss, learning_rate = take_step(step)
            if not math.isfinite(loss):
                fail(f"the loss is {loss} at step {step + 1}: lower --learning-rate.")
            done, last = step + 1, step + 1 == steps.stop
            val_loss = validate() if last or done % eval_every == 0 else None
            row = {
                "step": done,
                "train_loss": loss,
                "val_loss": val_loss,
                "learning_rate": learning_rate,
            }
            log.write(json.dumps(row) + "\n")
            log.flush()
            bar.set_postfix(loss=f"{loss:.3f}")
            if val_loss is not None and not interactive:
                line = f"step {done}/{steps.stop}: train loss {loss:.3f}, validation {val_loss:.3f}"
                print(line, file=sys.stderr)
            if last or signals or done % save_every == 0:
                save(done)
            if signals:
                print(f"stopped at step {done}, saved: go on with --resume.", file=sys.stderr)
                raise SystemExit(130)


def _keep_lines(metrics: Path, count: int) -> None:
    """Drop the lines of steps after a checkpoint: a resumed run takes those steps again."""
    text = metrics.read_text(encoding="utf-8") if metrics.exists() else ""
    metrics.write_text("".join(text.splitlines(keepends=True)[:count]), encoding="utf-8")
