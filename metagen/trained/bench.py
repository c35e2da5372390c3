"""`trained/bench.json`: how fast the trained model is on one thread of this machine's CPU.

The figures are those of the machine that built the package, so another machine does not measure
again, and `metagen verify` compares the bytes.
"""

from __future__ import annotations

import json
from typing import Any

from metagen.errors import TaskError
from metagen.files import json_bytes
from metagen.measure.results import FULL_MODEL
from metagen.trained import checkpoint
from metagen.work import Desk

TARGET = "trained/bench.json"
# A model of gigabytes takes minutes for a pass on one thread.
OPTIONS = ("--warmup", "1", "--repeats", "5")
COMMAND = " ".join(
    ("python bench.py --checkpoint ..", *checkpoint.OPTIONS, *OPTIONS),
)


def bench(desk: Desk) -> dict[str, bytes]:
    """Return what bench.py measured; {} without a model, or with one of more than moderate size."""
    if not checkpoint.is_small(desk.entry(FULL_MODEL)):
        return {TARGET: json_bytes({})}
    return {TARGET: desk.observed(TARGET, json_bytes(_measured(desk)))}


def _measured(desk: Desk) -> dict[str, Any]:
    printed = checkpoint.run(desk, "bench.py", *OPTIONS)
    try:
        report: dict[str, Any] = json.loads(printed)
    except ValueError:
        raise TaskError("code/bench.py printed something other than its JSON report") from None
    # The command that ran has the path of a folder of this machine.
    return {**report, "command": COMMAND}
