"""Errors of a script: one sentence on stderr, and an exit status."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import torch


def fail(sentence: str) -> NoReturn:
    """Print a sentence with the cause and the next step, and exit with status 2."""
    rank = os.environ.get("RANK", "0")
    who = "" if rank == "0" else f" (process {rank})"
    # Messages of libraries, which sentences quote, may have several lines.
    line = " ".join(sentence.splitlines())
    print(f"{Path(sys.argv[0]).name}{who}: {line}", file=sys.stderr)
    raise SystemExit(2)


def run(main: Callable[[], None]) -> None:
    """Run a script; Ctrl-C, `| head`, and a full memory or disk end it without a traceback."""
    full = "memory is full: use --device cpu, a smaller --batch-size, or in train.py --grad-accum."
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes stdout at exit, and would report the closed pipe once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("stopped; the last checkpoint, if any, is complete.", file=sys.stderr)
        raise SystemExit(130) from None
    except (torch.OutOfMemoryError, MemoryError):
        fail(full)
    except OSError as error:
        fail(f"{error.filename or 'a file'}: {error.strerror}.")
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # torch's message for a CPU
            raise
        fail(full)
