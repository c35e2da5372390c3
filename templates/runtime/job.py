"""What the train.py of a task brings to a training run: its model, its data and its loss."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Batch = tuple[Tensor, ...]
Loss = Callable[[nn.Module, Batch], tuple[Tensor, int]]


@dataclass(frozen=True)
class Stage:
    """A training that follows another in one run, of other weights, with a loss of its own.

    The learning rate warms up and falls again in each.

    Attributes:
        share: Share of the schedule's updates that lie before it.
        loss: As that of a job.
    """

    share: float
    loss: Loss


class Experience(Protocol):
    """What a network learns from where it makes its data itself, by acting.

    Attributes:
        seen: Metrics of the last validation beside its loss.
    """

    seen: dict[str, float]

    def begin(self, module: nn.Module, device: torch.device) -> None:
        """Take the module that acts, before the first step."""

    def collect(self, module: nn.Module, step: int) -> dict[str, float]:
        """Act as far as a step, counted from 0, needs; return metrics of what was seen.

        A step that was broken off comes again, and then changes nothing.
        """

    def tensors(self) -> dict[str, Tensor]:
        """Return all that a resumed run needs; every process must call this."""

    def state(self) -> dict[str, Any]:
        """Return entries of the checkpoint's state.json."""

    def restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Go on from what `tensors` and `state` returned, or stop."""


@dataclass(frozen=True)
class Job:
    """A model, its data and its loss.

    Attributes:
        config: Its Config, with the options of the command line.
        data: The Config of data.py.
        name: Name of the data.
        sha256: Digest of the data.
        splits: How much each split has, in `counted`.
        build: Makes the network; it has `config`, `num_params`, `checkpoint_name` and
            `checkpoint_config`.
        batch: Returns samples of the training split, from a position in their order and a count.
        held_out: Returns the batches of the validation split, from the size of a batch.
        loss: Passes a batch through the module; returns the mean loss and the number of targets.
        example: Returns the loss of dummy samples, from a network, their number and `data`.
        unit: What the speed is counted in, such as `tokens`.
        counted: What `splits` counts; None: the unit.
        counts: How much each split has of further things, such as `documents`.
        amount: Units in a sample.
        identity: What a resumed run must share with the run that it continues, beside the data's
            digest and the settings of data, training and model.
        entries: Entries of the checkpoint's config.json, beside the network's own.
        texts: The checkpoint's other files.
        average: Starts a `runtime.ema.Average` of the network's weights; validation and the
            checkpoint's model.safetensors then use the average. None: there is none.
        experience: What the network learns from as it acts; None: the training split is stored.
        stages: Trainings that follow that of `loss`, in their order.
        rates: Parameters whose learning rate is a multiple of the usual one, by name.
    """

    config: Any
    data: Any
    name: str
    sha256: str
    splits: Mapping[str, int]
    build: Callable[[], Any]
    batch: Callable[[int, int], Batch]
    held_out: Callable[[int], Iterable[Batch]]
    loss: Loss
    example: Callable[[Any, int, Any], Tensor]
    unit: str
    counted: str | None = None
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    amount: int = 1
    identity: Mapping[str, Any] | None = None
    entries: Mapping[str, Any] | None = None
    texts: Mapping[str, str] | None = None
    average: Callable[[nn.Module], Any] | None = None
    experience: Experience | None = None
    stages: Sequence[Stage] = ()
    rates: Mapping[str, float] = field(default_factory=dict)
