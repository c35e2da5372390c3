"""How a script stops when it cannot go on."""

import sys
from pathlib import Path
from typing import NoReturn


def fail(sentence: str) -> NoReturn:
    """Say in one sentence what is wrong and what to do, and exit with status 2."""
    print(f"{Path(sys.argv[0]).name}: {sentence}", file=sys.stderr)
    raise SystemExit(2)
