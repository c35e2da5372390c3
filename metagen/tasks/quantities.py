"""What the tasks that predict a quantity share: a model predicts one for each sample."""

from __future__ import annotations

from metagen.errors import Problem, SpecError
from metagen.tasks.task import Lookup

OUTPUTS = "task.num_outputs"


def require_one(sample: str, key: Lookup) -> None:
    """Check that a spec asks for one number, of what a sample is, such as `row`.

    Raises:
        SpecError: It declares another number of outputs.
    """
    outputs = key(OUTPUTS)
    if outputs not in (None, 1):
        sentence = f"regression predicts one number for each {sample}, not {outputs}"
        raise SpecError([Problem(sentence, OUTPUTS, "train a model for each of them")])
