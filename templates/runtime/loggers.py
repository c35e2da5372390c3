"""The loggers of --report-to: each is a library of its own, and none is needed.

All write into the folder of the run and send nothing anywhere, unless the variables of a library's
environment say otherwise, such as WANDB_MODE or MLFLOW_TRACKING_URI.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from runtime.errors import fail

NONE = "none"
Values = Mapping[str, float]


@dataclass(frozen=True)
class Run:
    """What a logger is told of a run.

    Attributes:
        folder: Folder of the run.
        project: What the run belongs to.
        name: Name of the run.
        first_step: Steps of the run before it was resumed.
        settings: All settings, by names such as `train.learning_rate`.
        id: What the logger called the run before it was resumed; None for a new run.
    """

    folder: Path
    project: str
    name: str
    first_step: int
    settings: Mapping[str, Any]
    id: str | None


class Logger(Protocol):
    """Where the metrics of steps go."""

    @property
    def id(self) -> str | None:
        """The logger's name of the run, by which a resumed run continues it; None without one."""

    def write(self, step: int, values: Values) -> None:
        """Take the metrics after a number of steps."""

    def close(self) -> None:
        """Write what is left."""


class TensorBoard:
    """Events in OUT/tensorboard."""

    def __init__(self, run: Run) -> None:
        self.id = None
        writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter
        # The resumed run repeats the steps after its checkpoint, so their events are hidden.
        self._board = writer(run.folder / "tensorboard", purge_step=run.first_step)

    def write(self, step: int, values: Values) -> None:
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        self._board.close()


class WandB:
    """Weights & Biases, offline: OUT/wandb, which `wandb sync` uploads."""

    def __init__(self, run: Run) -> None:
        os.environ.setdefault("WANDB_MODE", "offline")
        project = os.environ.get("WANDB_PROJECT", run.project)
        self._run: Any = importlib.import_module("wandb").init(
            project=project,
            name=run.name,
            dir=str(run.folder),
            id=run.id,
            resume="allow" if run.id else None,
            config=dict(run.settings),
        )
        self.id = str(self._run.id)

    def write(self, step: int, values: Values) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


class Trackio:
    """Trackio, which keeps its database in OUT/trackio; `trackio show` displays it."""

    def __init__(self, run: Run) -> None:
        # The library reads this when it is imported.
        os.environ.setdefault("TRACKIO_DIR", str((run.folder / "trackio").resolve()))
        self._trackio: Any = importlib.import_module("trackio")
        # A run's name is all that identifies it here.
        self.id = run.id or run.name
        project = os.environ.get("TRACKIO_PROJECT", run.project)
        how = "must" if run.id else "never"
        self._trackio.init(project, name=self.id, config=dict(run.settings), resume=how)

    def write(self, step: int, values: Values) -> None:
        self._trackio.log(dict(values), step=step)

    def close(self) -> None:
        self._trackio.finish()


class MLflow:
    """MLflow, in OUT/mlflow.db, which `mlflow ui --backend-store-uri sqlite:///...` displays."""

    def __init__(self, run: Run) -> None:
        self._mlflow: Any = importlib.import_module("mlflow")
        if "MLFLOW_TRACKING_URI" not in os.environ:
            database = (run.folder / "mlflow.db").resolve()
            self._mlflow.set_tracking_uri(f"sqlite:///{database}")
        if "MLFLOW_EXPERIMENT_NAME" not in os.environ:
            self._mlflow.set_experiment(run.project)
        started = self._mlflow.start_run(run_id=run.id, run_name=None if run.id else run.name)
        self.id = str(started.info.run_id)
        if not run.id:
            self._mlflow.log_params(dict(run.settings))

    def write(self, step: int, values: Values) -> None:
        self._mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        self._mlflow.end_run()


LOGGERS: Mapping[str, Callable[[Run], Logger]] = {
    "wandb": WandB,
    "trackio": Trackio,
    "mlflow": MLflow,
    "tensorboard": TensorBoard,
}


def check_loggers(names: Sequence[str]) -> None:
    """Stop if the library of a logger is missing, before anything is read or trained."""
    if NONE in names and len(names) > 1:
        fail("--report-to none stands alone: leave it out, or leave out the others.")
    for name in names:
        if name != NONE and not _installed(name):
            fail(f"--report-to {name} needs a library: pip install {name}.")


def _installed(name: str) -> bool:
    # It is not imported here, because one of them reads the environment when it is.
    if name in sys.modules:
        return sys.modules[name] is not None
    return importlib.util.find_spec(name) is not None


def open_loggers(names: Sequence[str], run_of: Callable[[str], Run]) -> dict[str, Logger]:
    """Return the loggers of a run by their names.

    Args:
        names: Values of --report-to.
        run_of: Returns what a logger is told, by its name.
    """
    return {name: LOGGERS[name](run_of(name)) for name in dict.fromkeys(names) if name != NONE}
