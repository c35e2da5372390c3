"""The problems of a spec, collected so that all of them are reported at once."""

from __future__ import annotations

import math
import re
from typing import Any, NoReturn

from metagen.errors import Problem, SpecError

# A file with more problems than this is probably no spec, so the rest of it is not read.
MOST = 100
_SHOWN = 60


def shown(value: Any) -> str:
    """Return a value for a message: short, and with control characters escaped."""
    text = repr(value[: _SHOWN + 1] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _line_and_column(problem: Problem) -> tuple[float, float]:
    """Return the line and column of a problem, for sorting; overrides come after the file."""
    match = re.search(r":(\d+):(\d+)$", problem.place)
    return (float(match[1]), float(match[2])) if match else (math.inf, math.inf)


class Findings:
    """The problems of a spec, in the order in which checks report them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, sentence: str, place: str, hint: str = "") -> None:
        """Add a problem; too many stop the check."""
        self.problems.append(Problem(sentence, place, hint))
        if len(self.problems) >= MOST:
            self.stop(f"more than {MOST - 1} problems; the rest was not read", place)

    def stop(self, sentence: str, place: str, hint: str = "") -> NoReturn:
        """Raise all problems, this one last, because nothing more can be read."""
        raise SpecError([*self.problems, Problem(sentence, place, hint)])

    def settle(self) -> None:
        """Raise all problems, in the order of the file, if there are any."""
        if self.problems:
            raise SpecError(sorted(self.problems, key=_line_and_column))
