"""The record of a training run: metrics.jsonl, and events for TensorBoard with --tensorboard."""

import itertools
import json
from collections.abc import Mapping
from pathlib import Path

from runtime.distributed import rank
from runtime.errors import fail


class Metrics:
    """A line of JSON for each step; the first process writes it, the others do nothing."""

    def __init__(self, folder: Path | None, first_step: int, tensorboard: bool) -> None:
        """Open the record of a run.

        Args:
            folder: Folder of the run; None writes nothing.
            first_step: Steps of the run before it was resumed. Lines of later steps are removed,
                because the resumed run repeats these steps.
            tensorboard: Whether to also write events for TensorBoard.
        """
        self._file = self._board = None
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
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                fail("--tensorboard needs a library: pip install tensorboard.")
            self._board = SummaryWriter(folder / "tensorboard", purge_step=first_step)

    def write(self, step: int, values: Mapping[str, float | None]) -> None:
        """Add a line of values after a number of steps; None is a value that was not measured."""
        if self._file is not None:
            print(json.dumps({"step": step, **values}), file=self._file, flush=True)
        if self._board is not None:
            for name, value in values.items():
                if value is not None:
                    self._board.add_scalar(name, value, step)

    def close(self) -> None:
        for file in (self._file, self._board):
            if file is not None:
                file.close()
