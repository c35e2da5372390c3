"""How a script stops when it cannot go on."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import torch


def fail(sentence: str) -> NoReturn:
    """Say in one sentence what is wrong and what to do, and exit with status 2."""
    print(f"{Path(sys.argv[0]).name}: {sentence}", file=sys.stderr)
    raise SystemExit(2)


def run(main: Callable[[], None]) -> None:
    """Run a script; Ctrl-C and a full GPU end it without a traceback."""
    try:
        main()
    except KeyboardInterrupt:
        print("stopped; the last checkpoint, if there is one, is whole.", file=sys.stderr)
        raise SystemExit(130) from None
    except torch.OutOfMemoryError:
        fail("the GPU's memory is full: use more --grad-accum, a smaller --batch-size, or the CPU.")
