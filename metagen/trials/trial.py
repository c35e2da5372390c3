"""What is trained: the settings of the scaled-down model, its steps and its seed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metagen import files
from metagen.errors import Problem, TaskError

CONFIG = "code/config.json"
READ = (".py", "/config.json", "/requirements.txt")  # What a training of `code/` depends on.
WHOLE_SPLIT = 10**9  # more batches than any validation split has
POINTS = 8  # validations of a training, so that its curve can be compared
Settings = Mapping[str, Mapping[str, Any]]  # The `proxy` section of code/config.json.


@dataclass(frozen=True)
class Trial:
    """A training of the scaled-down model with settings of its own.

    Attributes:
        config: The sections of `proxy` in code/config.json: `model`, `data`, `train` and so on.
        steps: Updates; the learning rate's schedule spans them.
        seed: Draws the first weights and the order of samples.
        data: What train.py reads by --data; None for the bundled data.
        points: Validations, each of the whole split; one alone is the last one.
    """

    config: Settings
    steps: int
    seed: int
    data: Path | None = None
    points: int = POINTS

    @classmethod
    def of(cls, package: Mapping[str, bytes], changes: Settings, *, steps: int, seed: int) -> Trial:
        """Return a trial of a package: its own proxy with some settings changed.

        Raises:
            KeyError: The proxy has no such setting.
        """
        proxy = json.loads(package[CONFIG])["proxy"]
        for section, values in changes.items():
            if unknown := values.keys() - proxy[section].keys():
                raise KeyError(f"{section}.{min(unknown)}")
        return cls({name: {**proxy[name], **changes.get(name, {})} for name in proxy}, steps, seed)

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """The settings that are trained with.

        Each validation reads the whole split, so losses of trials that differ in their batch are
        comparable. A batch passes through the model at once.
        """
        config = {name: dict(values) for name, values in self.config.items()}
        config["train"] |= {
            "steps": self.steps,
            "seed": self.seed,
            "eval_batches": WHOLE_SPLIT,
            "eval_every": max(1, self.steps // self.points),
            "save_every": self.steps,
        }
        return config


def package_of(run: Path) -> dict[str, bytes]:
    """Return the files of `code/` in a run folder that a training reads, by path.

    Raises:
        TaskError: The folder has no code, or a link or the like in the place of a file.
    """
    code = run / "code"
    names = sorted(p.relative_to(run).as_posix() for p in code.rglob("*") if not p.is_dir())
    names = [name for name in names if name.endswith(READ)]
    if CONFIG not in names:
        hint = "build the package with pytorch_skeleton and training_recipe"
        raise TaskError(Problem("This folder holds no code that could be trained.", str(run), hint))
    for name in names:
        if blocked := files.obstacle(run, name):
            raise TaskError(Problem("The code of a package is plain files.", blocked, "copy it"))
    return {name: files.read_plain(run / name) for name in names}
