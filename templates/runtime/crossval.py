"""Cross-validation: for each fold a network of its own, trained as train.py trains one."""

import argparse
import contextlib
import io
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from runtime.checkpoint import load_model
from runtime.errors import fail
from runtime.settings import read_json
from runtime.training import Job, train

ConfigT = TypeVar("ConfigT")


def trained(job: Job, steps: int, device: torch.device) -> Any:
    """Return the network of a job after some steps, ready to be used; nothing is kept on disk.

    What training prints is swallowed: a fold is one of many.
    """
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stderr(io.StringIO()):
        args = argparse.Namespace(
            out=Path(scratch),
            checkpoint=None,
            steps=steps,
            schedule_steps=None,
            resume=False,
            parallel="ddp",
            grad_checkpoint=False,
            compile=False,
            tensorboard=False,
            dry_run=False,
        )
        train(job, args, device)
        return load_model(job.build, args.out / "checkpoint").to(device)


def as_trained(config: ConfigT, folder: Path) -> tuple[ConfigT, int]:
    """Return settings of train.py as a checkpoint was trained with, and for how many steps."""
    state = read_json(folder / "state.json")
    parts = ((key.partition("."), value) for key, value in state.items())
    found = {name: value for (section, _, name), value in parts if section == "train"}
    changed: Any = config
    try:
        return replace(changed, **found), int(state["step"])
    except (KeyError, TypeError, ValueError):
        fail(f"{folder / 'state.json'} is not what train.py writes: train it again.")
