"""The machine of a measurement: `python -m metagen.measure.machine` writes machine.json.

It runs in a process of its own, like every measurement: tasks do not look at the machine.
"""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")


def main() -> None:
    """Write what is seen of the machine."""
    Path("machine.json").write_text(json.dumps(seen()))


def seen() -> dict[str, Any]:
    """Return the model of the CPU, the number of its logical cores, and the operating system."""
    return {
        "cpu": _model() or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _model() -> str:
    """Return the name of the first CPU; "" where the operating system does not list CPUs."""
    lines = CPUINFO.read_text(errors="replace").splitlines() if CPUINFO.is_file() else []
    pairs = (line.partition(":") for line in lines)
    return next((" ".join(value.split()) for name, _, value in pairs if "model name" in name), "")


if __name__ == "__main__":
    main()
