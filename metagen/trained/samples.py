"""`trained/samples.json`: what the trained model answers to the demonstration of its task."""

from __future__ import annotations

import shlex

from metagen import families
from metagen.errors import TaskError
from metagen.files import json_bytes
from metagen.measure.results import FULL_MODEL
from metagen.trained import checkpoint
from metagen.work import Desk

TARGET = "trained/samples.json"
_LONGEST = 2000  # characters of an answer


def samples(desk: Desk) -> dict[str, bytes]:
    """Return one sample of output; none without a model, a demonstration or a moderate size.

    The same checkpoint, code and libraries give the same bytes.
    """
    arguments = families.of_package(desk).task.demonstration
    if not arguments or not checkpoint.is_small(desk.entry(FULL_MODEL)):
        return {TARGET: json_bytes([])}
    printed = checkpoint.run(desk, "infer.py", *shlex.split(arguments))
    try:
        output = printed.decode()
    except UnicodeDecodeError:
        raise TaskError("code/infer.py printed something other than UTF-8 text") from None
    sample = {
        "input": arguments,
        "output": output.strip()[:_LONGEST],
        "command": f"python infer.py --size full --checkpoint .. {arguments}",
    }
    return {TARGET: json_bytes([sample])}
