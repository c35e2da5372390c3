"""What a run measures of itself: metrics.jsonl, and TensorBoard when asked."""

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
            folder: Where it is kept; None keeps nothing.
            first_step: Steps that were taken before; what the record says of later ones goes, as
                a resumed run takes them again.
            tensorboard: Whether to write events for TensorBoard too.
        """
        self._file = self._board = None
        if folder is None or rank() != 0:
            return
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.jsonl"
        path.touch()
        with path.open("rb+") as file:
            file.truncate(sum(map(len, itertools.islice(file, first_step))))
        self._file = path.open("a", encoding="utf-8")
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                fail("--tensorboard needs a library: pip install tensorboard.")
            self._board = SummaryWriter(folder / "tensorboard", purge_step=first_step)

    def write(self, step: int, values: Mapping[str, float | None]) -> None:
        """Record what was measured after a number of steps; None was not measured."""
        if self._file is not None:
            print(json.dumps({"step": step, **values}), file=self._file, flush=True)
        if self._board is not None:
            for name, value in values.items():
                if value is not None:
                    self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the files."""
        for file in (self._file, self._board):
            if file is not None:
                file.close()
