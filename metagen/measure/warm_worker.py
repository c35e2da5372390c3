"""A process that imports libraries once, and forks for each program that it is asked to run.

Its arguments are the number of the open file that has the requests, the mark of the lines in which
it speaks itself, and the modules to import. A request is a line of JSON with the folder, the
environment and the arguments of a program, and with the file that receives its standard output.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any


def main() -> None:
    """Run the programs of all requests, one after another."""
    number, mark, *modules = sys.argv[1:]
    for name in modules:
        # A program that needs a library that is missing says so itself.
        with suppress(ImportError):
            importlib.import_module(name)
    with os.fdopen(int(number)) as requests:
        own = next((line for line in requests if not _ran(mark)), None)
    if own:
        _become(json.loads(own))


def _ran(mark: str) -> bool:
    """Fork; return True in this process, once the other one has ended, and False in that one."""
    child = os.fork()
    if not child:
        _say(mark, {"program": os.getpid()})
        return False
    _, status, usage = os.wait4(child, 0)
    seconds = usage.ru_utime + usage.ru_stime
    _say(mark, {"status": os.waitstatus_to_exitcode(status), "seconds": seconds})
    return True


def _say(mark: str, told: dict[str, float]) -> None:
    # A program may have left its last line open.
    print(f"\n{mark}{json.dumps(told)}", file=sys.stderr, flush=True)


def _become(request: dict[str, Any]) -> None:
    """Run a program in this process, as if Python had been started with it."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(output, 1)
    os.close(output)
    sys.argv = request["arguments"]
    sys.path[0] = str(Path(sys.argv[0]).parent.resolve())
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
