"""Exact parameters and operations of a trial's model, counted on the code of the package."""

from __future__ import annotations

import json
from collections.abc import Mapping

from metagen import paths
from metagen.measure import sandbox

_COUNTS = "counts.json"
_WORKER = ("-P", "-m", "metagen.trials.count_worker")
_TIMEOUT = 600


def counted(files: Mapping[str, bytes]) -> bytes:
    """Return `parameters`, and the `flops` of an update on one sample, as JSON.

    Args:
        files: `code/` with the settings of the trial.

    Raises:
        TaskError: The code fails; the error shows its last output.
    """
    root = paths.PACKAGE.parent
    left = sandbox.run(_WORKER, files, (_COUNTS,), timeout=_TIMEOUT, module_path=root)
    json.loads(left[_COUNTS])
    return left[_COUNTS]
