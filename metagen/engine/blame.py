"""Errors that a person's edit causes.

An edited file is a source of all that is made from it, and no task expects every possible edit.
What breaks on one is told as a mistake in the edit, not as one of MetaGen's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from metagen.errors import MetagenError, Problem, TaskError

_HINT = "mend the edit, or build with --discard-edits, which keeps a backup"


@contextmanager
def blamed(edits: Callable[[], Sequence[str]]) -> Iterator[None]:
    """Turn an unforeseen error into one that names the edits that led to it, if there are any.

    Args:
        edits: Returns the edited files that the work is made from.

    Raises:
        TaskError: The work broke, and there are such files.
    """
    try:
        yield
    except MetagenError:
        raise
    except Exception as error:
        if not (found := edits()):
            raise
        said = str(error).splitlines() or [""]
        sentence = f"this cannot be made from what was edited: {type(error).__name__}: {said[0]}"
        raise TaskError(Problem(sentence, ", ".join(found), _HINT)) from error
