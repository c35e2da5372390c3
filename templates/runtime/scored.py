"""The scores of eval.py in OUT/scores.json, each with the digest of the weights that it is of."""

import argparse
import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from runtime.distributed import rank
from runtime.errors import fail
from runtime.journal import read_entries, write_entries
from runtime.origin import code_digests, command, config_digest, device_name, now, versions
from runtime.weights import Signature, signature, weights_digest

FILE, SCORES = "scores.json", "scores"


def check_scores(out: Path) -> None:
    """Stop if the scores of a folder are damaged, before new ones are computed."""
    if rank() == 0:
        read_entries(out / FILE, SCORES)


def keep_score(
    args: argparse.Namespace,
    device: torch.device,
    opened: tuple[Path, Signature],
    report: Mapping[str, Any],
) -> None:
    """Add a score to OUT/scores.json, in the place of an older one of the same kind.

    Args:
        args: The options of eval.py.
        device: Where it computed.
        opened: The checkpoint's folder, and what its weights were when it was opened.
        report: What eval.py prints.
    """
    folder, before = opened
    score = {
        "command": command(),
        "ran": now(),
        "size": args.size,
        "checkpoint": {"sha256": weights_digest(folder), "step": report["checkpoint_step"]},
        "code": code_digests(),
        "config": config_digest(),
        "device": device_name(device),
        "versions": versions(),
        "report": report,
    }
    # A training that goes on may have replaced the weights while they were scored.
    if signature(folder) != before:
        fail(f"{folder} changed while it was scored, so {FILE} does not keep the score: run again.")
    path = args.out / FILE
    with _alone(args.out):
        others = [each for each in read_entries(path, SCORES) if _kind(each) != _kind(score)]
        write_entries(path, SCORES, [*others, score])


def _kind(score: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what two scores share if the newer one replaces the older one."""
    checkpoint, report = (_object(score.get(name)) for name in ("checkpoint", "report"))
    data = (report.get("dataset"), report.get("sha256"))
    return checkpoint.get("sha256"), *data, score.get("command")


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other eval.py changes the scores of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    place = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems lock no folders
            fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)
