"""How a script stops when it cannot go on."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import torch


def fail(sentence: str) -> NoReturn:
    """Say in one sentence what is wrong and what to do, and exit with status 2."""
    rank = os.environ.get("RANK", "0")
    who = "" if rank == "0" else f" (process {rank})"
    print(f"{Path(sys.argv[0]).name}{who}: {sentence}", file=sys.stderr)
    raise SystemExit(2)


def run(main: Callable[[], None]) -> None:
    """Run a script; Ctrl-C, `| head`, a full memory and disk end it without a traceback."""
    full = "memory is full: use --device cpu, a smaller --batch-size, or in train.py --grad-accum."
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("stopped; the last checkpoint, if there is one, is whole.", file=sys.stderr)
        raise SystemExit(130) from None
    except (torch.OutOfMemoryError, MemoryError):
        fail(full)
    except OSError as error:
        fail(f"{error.filename or 'a file'}: {error.strerror}.")
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # how torch says it of a CPU
            raise
        fail(full)
