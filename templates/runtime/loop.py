"""The training loop: updates, validation, metrics, checkpoints, and a clean stop."""

import contextlib
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn, Protocol

import torch
from tqdm import tqdm

from runtime.distributed import anywhere, rank, world_size
from runtime.errors import fail
from runtime.metrics import Metrics
from runtime.settings import Training


@dataclass(frozen=True)
class StepSize:
    """Amount of work in a step, over all processes.

    Attributes:
        unit: What is counted, such as `tokens`.
        amount: Units in a step.
        seconds_at_peak: Seconds of the step's FLOPs if all devices ran at their peak; None if the
            peak is unknown.
    """

    unit: str
    amount: int
    seconds_at_peak: float | None = None

    def speed(self, seconds: float | None) -> dict[str, float | None]:
        """Return the speed of a step that took these seconds; None if it was not timed."""
        speeds = {f"{self.unit}_per_second": seconds and self.amount / seconds}
        if self.seconds_at_peak is not None:
            # MFU is the share of the devices' peak that the step reached.
            speeds["mfu"] = seconds and self.seconds_at_peak / seconds
        return speeds


class Steps(Protocol):
    """A run that the loop executes step by step."""

    config: Training
    device: torch.device
    size: StepSize

    def step(self, step: int, stopped: Callable[[], bool]) -> dict[str, float] | None:
        """Take a step, counted from 0; return its metrics, with `train_loss` and `grad_norm`.

        `stopped` says whether the run is to stop, and is asked between the parts of a step; a step
        that is broken off changes nothing and returns None.
        """

    def validate(self, stopped: Callable[[], bool]) -> dict[str, float] | None:
        """Return metrics of the validation split, with `val_loss`; None if it is broken off."""

    def save(self, done: int) -> None:
        """Save a checkpoint after this number of steps."""


def fit(run: Steps, steps: range, metrics: Metrics) -> None:
    """Take steps; the last one is always validated and saved.

    Ctrl-C or SIGTERM ends the current part of a step, saves the last whole one, and exits with
    status 130 or 143.
    """
    quiet = rank() != 0 or not sys.stderr.isatty()
    bar = tqdm(steps, initial=steps.start, total=steps.stop, disable=quiet)
    saved = steps.start
    with interrupts() as signals:

        def stopped() -> bool:
            # All processes must stop at the same place, and a signal may reach only some of them.
            return anywhere(bool(signals))

        for done in (step + 1 for step in bar):
            began = time.perf_counter()
            values = run.step(done - 1, stopped)
            if values is None:
                _stop(run, done - 1, saved, signals)
            # The first step is not timed, because it also allocates and compiles.
            seconds = time.perf_counter() - began if done > steps.start + 1 else None
            _check_finite(values, done)
            last = done == steps.stop
            due = last or done % run.config.eval_every == 0
            held_out = run.validate(stopped) if due else None
            scores: Mapping[str, float | None] = held_out or {"val_loss": None}
            metrics.write(done, {**values, **scores, **run.size.speed(seconds)})
            loss, val_loss = values["train_loss"], scores["val_loss"]
            bar.set_postfix(loss=f"{loss:.3f}")
            if val_loss is not None:
                say(f"step {done}/{steps.stop}: train loss {loss:.3f}, validation {val_loss:.3f}")
            if last or done % run.config.save_every == 0:
                run.save(done)
                saved = done
            broken_off = due and held_out is None
            if broken_off or (not last and stopped()):
                _stop(run, done, saved, signals)


def _stop(run: Steps, done: int, saved: int, signals: list[int]) -> NoReturn:
    """Save what is not saved yet after these steps, and exit with the status of the signal."""
    if done > saved:
        run.save(done)
    line = f"stopped and saved at step {done}: continue with --resume."
    say(line if done else "stopped before the first step was done; nothing is saved.")
    raise SystemExit(128 + max(signals, default=signal.SIGTERM))


def _check_finite(values: dict[str, float], done: int) -> None:
    """Stop before weights that are not finite are saved."""
    loss, norm = values["train_loss"], values["grad_norm"]
    if not math.isfinite(loss + norm):
        fail(
            f"the loss is {loss} and the gradient's norm {norm} at step {done}: lower "
            "--learning-rate; the last checkpoint is unchanged."
        )


def say(line: str) -> None:
    """Print a line on stderr, above the progress bar, from the first process only."""
    if rank() == 0:
        tqdm.write(line, file=sys.stderr)


@contextlib.contextmanager
def interrupts() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM in a list, so that no part of a step is interrupted.

    A second Ctrl-C does interrupt it, except under torchrun: it forwards each signal to
    processes that have already received it from the terminal.
    """
    signals: list[int] = []

    def collect(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        if world_size() == 1:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    kinds = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(kind, collect) for kind in kinds]
    try:
        yield signals
    finally:
        for kind, handler in zip(kinds, previous, strict=True):
            signal.signal(kind, handler)
