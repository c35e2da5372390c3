"""The record of training runs, OUT/run.json: an entry for each start of train.py.

No entry is ever removed: a run that was resumed has several, and a start at step 0 begins another
run. An entry is written before the first step, with the status `running`, again with each
checkpoint, and when the start ends. So after a kill it says what the last checkpoint holds.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from runtime.distributed import rank
from runtime.journal import Entries, read_entries, write_entries
from runtime.origin import now
from runtime.usage import Usage

FILE, STARTS = "run.json", "starts"
RUNNING, DONE, STOPPED, FAILED = "running", "done", "stopped", "failed"


class Speed:
    """The mean speed of the steps that were timed, from the metrics of each."""

    def __init__(self, unit: str) -> None:
        self._names = {"throughput": f"{unit}_per_second", "mfu": "mfu"}
        self._inverse = dict.fromkeys(self._names, 0.0)
        self._steps = dict.fromkeys(self._names, 0)

    def add(self, values: Mapping[str, float | None]) -> None:
        for name, column in self._names.items():
            if speed := values.get(column):
                self._inverse[name] += 1 / speed
                self._steps[name] += 1

    def means(self) -> dict[str, float | None]:
        """Return the mean units a second and the mean MFU; None if no step was timed."""
        # Steps do equal work, so the speed of all of them is the harmonic mean of their speeds.
        return {
            name: self._steps[name] / inverse if inverse else None
            for name, inverse in self._inverse.items()
        }


class Record:
    """One start of train.py; the first process writes it, and the others help to measure.

    As a context, it says how the start ended.
    """

    def __init__(
        self, folder: Path | None, about: Mapping[str, Any], amount: int, usage: Usage
    ) -> None:
        """Read what earlier starts left, or stop if that is damaged.

        Args:
            folder: Folder of the run; None writes nothing.
            about: What is known before the first step; it has `unit` and the first step, `from`.
            amount: Units in a step.
            usage: Counts what this process uses.
        """
        about = dict(about)
        self._path = folder / FILE if folder and rank() == 0 else None
        self._earlier: Entries = read_entries(self._path, STARTS) if self._path else []
        self._first, self._amount, self._usage = about.pop("from"), amount, usage
        self._speed = Speed(about["unit"])
        self._clock = time.monotonic()
        self.entry: dict[str, Any] = {
            **about,
            "began": now(),
            "ended": None,
            "status": RUNNING,
            "steps": {"from": self._first, "to": self._first},
            "units": 0,
            "seconds": {"wall": 0.0, "device": None, "device_time": usage.device_time},
            "memory_peak": None,
            "energy": {"joules": None, "source": "not measured"},
            **self._speed.means(),
            "losses": {"train": None, "val": None},
            "checkpoint": None,
            "loggers": {},
        }
        self._losses: dict[str, float | None] = dict(self.entry["losses"])

    def earlier(self, name: str) -> Any:
        """Return an entry's field of the start before this one, None if this begins a run."""
        return self._earlier[-1].get(name) if self._earlier and self._first else None

    def write(self, step: int, values: Mapping[str, float | None]) -> None:
        """Take the metrics of a step; the next checkpoint brings them to the file."""
        self._speed.add(values)
        self._losses["train"] = values["train_loss"]
        if values.get("val_loss") is not None:
            self._losses["val"] = values["val_loss"]

    def saved(self, step: int, sha256: str | None) -> None:
        """Say what this start has done, after a checkpoint; all processes must call this.

        Steps after the last checkpoint are lost if the process is killed, so they never count.

        Args:
            step: The step of the checkpoint.
            sha256: Digest of its weights; only the first process needs it.
        """
        used = self._usage.read()
        self.entry["seconds"]["device"] = used.pop("device")
        self.entry |= used | self._speed.means()
        self.entry["steps"]["to"] = step
        self.entry["units"] = (step - self._first) * self._amount
        self.entry["losses"] = dict(self._losses)
        self.entry["checkpoint"] = {"step": step, "sha256": sha256}
        self._write()

    def _write(self) -> None:
        self.entry["seconds"]["wall"] = time.monotonic() - self._clock
        if self._path:
            write_entries(self._path, STARTS, [*self._earlier, self.entry])

    def __enter__(self) -> Self:
        self._write()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        stopped = isinstance(error, KeyboardInterrupt) or (
            # The loop ends with the status of a signal after it has saved a checkpoint.
            isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > 128
        )
        self.entry["status"] = DONE if error is None else STOPPED if stopped else FAILED
        self.entry["ended"] = now()
        self._write()
