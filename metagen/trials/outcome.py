"""What a training showed: held-out losses, exact counts, what it read, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple


class Point(NamedTuple):
    """A point of a learning curve: the steps done, and the loss on the validation split."""

    step: int
    val_loss: float


@dataclass(frozen=True)
class Outcome:
    """What a trial showed; the test split plays no part in it.

    Attributes:
        val_loss: The loss on the whole validation split after the last step.
        curve: The validation losses on the way there, and the last one.
        metrics: Everything that was measured at the last step, without speeds.
        parameters: Exact count of the trial's model.
        flops: Operations of all updates: forward and backward, a multiply-add counts as two.
        samples: Samples read in all updates, with repetition.
        units: The same in the task's unit, such as tokens.
        unit: That unit.
        data: Name, digest and splits of the data.
        seconds: CPU time of the training.
        memory: Most bytes that its process held.
    """

    val_loss: float
    curve: tuple[Point, ...]
    metrics: Mapping[str, float]
    parameters: int
    flops: int
    samples: int
    units: int
    unit: str
    data: Mapping[str, Any]
    seconds: float
    memory: int | None

    def content(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)

    @classmethod
    def of(cls, content: dict[str, Any]) -> Outcome:
        """Return what `content` has."""
        curve = tuple(Point(*each) for each in content["curve"])
        return cls(**{**content, "curve": curve})
