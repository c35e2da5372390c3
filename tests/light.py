"""Print the requirements of the tests that need no torch: `make light` installs them."""

from __future__ import annotations

import tomllib
from pathlib import Path

HEAVY = ("torch", "fvcore")
TOOLS = ("hypothesis", "pytest", "pytest-xdist")

if __name__ == "__main__":
    table = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    lines = table["project"]["dependencies"]
    kept = [line for line in lines if not line.startswith(HEAVY)]
    print(*(line.replace(" ", "") for line in kept), *TOOLS)
