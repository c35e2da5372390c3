"""Cross-validation: each fold trains a network of its own in the way of train.py."""

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


def trained_network(job: Job, steps: int, device: torch.device) -> Any:
    """Return the network of a job after some steps, in evaluation mode; nothing stays on disk."""
    # The messages of training are discarded, because each fold would print a page of them.
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stderr(io.StringIO()):
        args = argparse.Namespace(
            out=Path(scratch),
            checkpoint=None,
            steps=steps,
            schedule_steps=None,
            resume=False,
            parallel="ddp",
            grad_checkpoint="none",
            compile=False,
            tensorboard=False,
            dry_run=False,
        )
        train(job, args, device)
        return load_model(job.build, args.out / "checkpoint").to(device)


def as_trained(config: ConfigT, folder: Path) -> tuple[ConfigT, int]:
    """Return the settings of train.py that a checkpoint was trained with, and its steps."""
    state = read_json(folder / "state.json")
    # state.json names each setting by its section, such as `train.learning_rate`.
    parts = ((key.partition("."), value) for key, value in state.items())
    own = {name: value for (section, _, name), value in parts if section == "train"}
    changed: Any = config
    try:
        return replace(changed, **own), int(state["step"])
    except (KeyError, TypeError, ValueError):
        fail(f"{folder / 'state.json'} was not written by train.py: train the model again.")
