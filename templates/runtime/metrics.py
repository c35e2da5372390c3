"""The metrics of a training run, step by step: metrics.jsonl, and where else they go."""

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from runtime.distributed import rank
from runtime.loggers import Logger


class Watcher(Protocol):
    """What takes the metrics of each step, with None for each that was not measured."""

    def write(self, step: int, values: Mapping[str, float | None]) -> None:
        """Take the metrics after a number of steps."""


class Metrics:
    """A line of JSON for each step; the first process writes it, the others do nothing."""

    def __init__(
        self,
        folder: Path | None,
        first_step: int,
        watchers: Sequence[Watcher] = (),
        loggers: Sequence[Logger] = (),
    ) -> None:
        """Open the metrics of a run.

        Args:
            folder: Folder of the run; None writes nothing.
            first_step: Steps of the run before it was resumed. Lines of later steps are removed,
                because the resumed run repeats these steps.
            watchers: What else takes each line.
            loggers: Takes the values of each line that were measured, and is closed at the end.
        """
        self._file = None
        self._watchers, self._loggers = watchers, loggers
        if folder is None or rank() != 0:
            return
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.jsonl"
        path.touch()
        with path.open("rb+") as file:
            lines = itertools.islice(file, first_step)
            # A line that a kill has cut short would be joined with the next one.
            file.truncate(sum(len(line) for line in lines if line.endswith(b"\n")))
        self._file = path.open("a", encoding="utf-8")

    def write(self, step: int, values: Mapping[str, float | None]) -> None:
        """Add a line of values after a number of steps; None is a value that was not measured."""
        if self._file is not None:
            print(json.dumps({"step": step, **values}), file=self._file, flush=True)
        for watcher in self._watchers:
            watcher.write(step, values)
        measured = {name: value for name, value in values.items() if value is not None}
        for logger in self._loggers:
            logger.write(step, measured)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        for logger in self._loggers:
            logger.close()
