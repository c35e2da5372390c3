"""The training loop: updates, validation, metrics, checkpoints, and a clean stop."""

import contextlib
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType

import torch
from tqdm import tqdm

from runtime.distributed import anywhere, rank, world_size
from runtime.errors import fail
from runtime.metrics import Metrics


@dataclass(frozen=True)
class Work:
    """What a step does, to tell how fast it was.

    Attributes:
        unit: What is counted, such as `tokens`.
        amount: How many of them are in a step, over all processes.
        flops: Operations of a step as a share of a second's peak of all devices; None where the
            peak is not known.
    """

    unit: str
    amount: int
    flops: float | None = None

    def speed(self, seconds: float | None) -> dict[str, float | None]:
        """Return the speed of a step that took so long."""
        found = {f"{self.unit}_per_second": seconds and self.amount / seconds}
        if self.flops is not None:
            found["mfu"] = seconds and self.flops / seconds
        return found


def fit(
    steps: range,
    take_step: Callable[[int], dict[str, float]],
    validate: Callable[[], float],
    save: Callable[[int], None],
    metrics: Metrics,
    work: Work,
    device: torch.device,
    eval_every: int,
    save_every: int,
) -> None:
    """Train; Ctrl-C or SIGTERM ends the current step, saves, and exits with status 130 or 143.

    Args:
        steps: The steps to take, counted from 0.
        take_step: Takes a step; returns what was measured, with `train_loss` and `grad_norm`.
        validate: Returns the loss on the validation split.
        save: Saves a checkpoint after a number of steps.
        metrics: Where to record what was measured after each step.
        work: What a step does.
        device: Where this process computes.
        eval_every: Steps from one validation to the next; the last step always has one.
        save_every: Steps from one checkpoint to the next; the last step always has one.
    """
    quiet = rank() != 0 or not sys.stderr.isatty()
    bar = tqdm(steps, initial=steps.start, total=steps.stop, disable=quiet)
    with interrupts() as signals:
        for done in (step + 1 for step in bar):
            began = time.perf_counter()
            values = take_step(done - 1)
            # The first step also allocates and compiles.
            seconds = time.perf_counter() - began if done > steps.start + 1 else None
            loss, norm = values["train_loss"], values["grad_norm"]
            if not math.isfinite(loss + norm):
                fail(
                    f"the loss is {loss} and the gradient's norm {norm} at step {done}: lower "
                    "--learning-rate; the last checkpoint is as it was."
                )
            last = done == steps.stop
            val_loss = validate() if last or done % eval_every == 0 else None
            metrics.write(done, values | {"val_loss": val_loss} | work.speed(seconds))
            bar.set_postfix(loss=f"{loss:.3f}")
            if val_loss is not None:
                say(f"step {done}/{steps.stop}: train loss {loss:.3f}, validation {val_loss:.3f}")
            stopped = anywhere(bool(signals), device)
            if last or stopped or done % save_every == 0:
                save(done)
            if stopped and not last:
                say(f"stopped at step {done}, saved: --resume goes on.")
                raise SystemExit(128 + max(signals, default=signal.SIGTERM))


def say(line: str) -> None:
    """Tell the user something, once for all processes."""
    if rank() == 0:
        tqdm.write(line, file=sys.stderr)


@contextlib.contextmanager
def interrupts() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM in a list, so that a step is never cut in two.

    A second Ctrl-C does cut, except under torchrun, which passes on the one that came before.
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
