"""Cross-validation: each fold trains a network of its own in the way of train.py."""

import argparse
import contextlib
import io
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from runtime.checkpoint import STATE, read_state, saved_step
from runtime.errors import fail
from runtime.job import Job
from runtime.limits import check_settings
from runtime.training import FREE, train
from runtime.weights import load_model

ConfigT = TypeVar("ConfigT")


def trained_network(job: Job, steps: int, device: torch.device) -> Any:
    """Return the network of a job after some steps, in evaluation mode; nothing stays on disk."""
    # The messages of training are discarded, because each fold would print a page of them.
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stderr(io.StringIO()):
        args = argparse.Namespace(
            out=Path(scratch),
            steps=steps,
            schedule_steps=None,
            resume=False,
            folder=Path(scratch) / "checkpoint",
            begin=None,
            init_from=None,
            parallel="ddp",
            grad_checkpoint="none",
            compile=False,
            size="proxy",
            report_to=(),
            dry_run=False,
        )
        train(job, args, device)
        return load_model(job.build, args.folder).to(device)


def as_trained(config: ConfigT, folder: Path) -> tuple[ConfigT, int]:
    """Return the settings of train.py that a checkpoint was trained with, and its steps."""
    if saved_step(folder) is None:
        fail(f"{folder} has no settings of train.py for its weights: train it again.")
    state = read_state(folder)
    # A checkpoint does not record the settings that change nothing of what is trained.
    names = [name for name in vars(config) if name not in FREE]
    own = {name: state.get(f"train.{name}") for name in names}
    check_settings(type(config), "train", own, f"{folder / STATE}: train")
    changed: Any = config
    return replace(changed, **own), state["step"]
