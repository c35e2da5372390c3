"""Notes of a reader: what it did with data that a person might take for something else.

A reader refuses what it cannot use, with `fail` of runtime.errors. What it uses in a way that may
surprise (a column that is left out, rows that are turned, a class without a test example) it says
with `note`, in a sentence with the file, the place and the next step. Each script that reads the
data says the same notes on standard error: data.py, train.py and eval.py call the same reader.
"""

import functools
import os
import sys
from pathlib import Path


@functools.cache  # a sentence is printed once, however often a script reads the data
def note(sentence: str) -> None:
    """Print a sentence about the data on stderr, from the first process only."""
    if os.environ.get("RANK", "0") == "0":
        print(f"{Path(sys.argv[0]).name}: note: {sentence}", file=sys.stderr)
