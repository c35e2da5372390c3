"""What agents share as they learn: environments to act in, validation, and the best weights."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from runtime.device import autocast
from runtime.distributed import reshard, total
from runtime.environments import World
from runtime.episodes import Act, Observations, Played, Worlds, play
from runtime.errors import fail
from runtime.job import Batch, Job, Loss
from runtime.settings import Training

VALIDATIONS = "validations"


class Best:
    """The weights of the validation with the highest return so far; before the first, the current.

    Agents forget: the last weights may be far worse than earlier ones.
    """

    def __init__(self, model: nn.Module) -> None:
        """Start from the weights that a model was loaded with."""
        self.model = model
        self.highest = -math.inf
        self.kept = self._tensors()

    def _tensors(self) -> dict[str, Tensor]:
        # A forward pass without gradients leaves some weights whole; those kept are in shards.
        reshard(self.model)
        named = (*self.model.named_parameters(), *self.model.named_buffers())
        return {name: tensor.detach().clone() for name, tensor in named}

    def update(self, updates: int) -> None:
        """Do nothing: an update alone does not show how good it is."""

    def offer(self, returned: float) -> None:
        """Keep the current weights if their return is the highest."""
        if returned > self.highest:
            self.highest, self.kept = returned, self._tensors()

    @contextlib.contextmanager
    def in_place(self) -> Iterator[dict[str, Tensor]]:
        """Replace the model's weights by the best, and yield its own ones as `name/raw`."""
        if math.isinf(self.highest):
            yield {}
            return
        own = self._tensors()
        self._put(self.kept)
        try:
            yield {f"{name}/raw": own[name] for name, _ in self.model.named_parameters()}
        finally:
            self._put(own)

    # The current weights are validated, to be compared with the best.
    validated = contextlib.nullcontext

    @torch.no_grad()
    def _put(self, tensors: dict[str, Tensor]) -> None:
        reshard(self.model)
        for name, tensor in (*self.model.named_parameters(), *self.model.named_buffers()):
            tensor.copy_(tensors[name])


class Acting:
    """An agent in its environments; how it learns from them is its subclass's.

    Attributes:
        seen: Metrics of the last validation beside its loss.
        worlds: The environments of training.
    """

    worlds: Worlds

    def __init__(
        self,
        config: Training,
        world: World,
        seeds: range,
        best_actions: Callable[[Any, int], Tensor],
    ) -> None:
        """Take what every agent has.

        Args:
            config: How it is trained.
            world: The environment.
            seeds: Those of the episodes of a validation.
            best_actions: From the network's output and the number of actions to the best ones.
        """
        self.config, self.world, self.seeds = config, world, seeds
        self.best_actions = best_actions
        self.seen: dict[str, float] = {}
        self.best: Best | None = None
        self.validations: list[list[float]] = []
        self.done = 0

    @property
    def transitions(self) -> int:
        """How many transitions training has taken from its environments."""
        raise NotImplementedError

    def keep_best(self, model: nn.Module) -> Best:
        """Start to keep the best weights of a model."""
        self.best, self.network = Best(model), model
        return self.best

    def begin(self, module: nn.Module, device: torch.device) -> None:
        """Take the module that acts, before the first step."""
        self.module, self.device = module, device

    @torch.no_grad()
    def output(self, observed: Observations) -> Any:
        """Return the network's output for observations (N, ...)."""
        tensor = torch.from_numpy(observed).to(self.device)
        with autocast(self.device, self.config.dtype):
            return self.module(tensor)

    def greedy(self) -> Act:
        """Return what acts as the network does after training."""

        def act(observed: Observations) -> NDArray[Any]:
            actions = self.best_actions(self.output(observed), self.world.actions)
            return np.asarray(actions.cpu().numpy())

        return act

    def validation(self) -> Played:
        """Play the episodes of the validation split; keep the weights if they are the best yet."""
        played = play(self.world, self.seeds, self.greedy())
        returned = float(played.returns.mean())
        self.seen = {"val_return": returned}
        # The last step of a run validates too, wherever the run ends; a run that goes on from there
        # must not remember what a straight run has not seen.
        if self.done % self.config.eval_every == 0:
            self.validations.append([self.transitions, returned])
            if self.best:
                self.best.offer(returned)
        return played

    def state(self) -> dict[str, Any]:
        """Return entries of the checkpoint's state.json: what each validation returned."""
        return {VALIDATIONS: self.validations}

    def tensors(self) -> dict[str, Tensor]:
        """Return the running episodes, and the statistics that the best weights do not have."""
        # A checkpoint's weights are the best ones, whose statistics are put in place of these.
        buffers = {f"buffer.{name}": buffer.clone() for name, buffer in self._buffers()}
        return self.worlds.tensors() | buffers

    def _buffers(self) -> list[tuple[str, Tensor]]:
        return [*self.network.named_buffers()]

    def restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Go on from a checkpoint, or stop."""
        try:
            self.validations = read_validations(state)
            self._restore(tensors)
        except (KeyError, RuntimeError, ValueError, IndexError) as error:
            fail(f"the checkpoint's experience is not that of this run ({error!r}): start anew.")

    def _restore(self, tensors: dict[str, Tensor]) -> None:
        self.worlds.restore(tensors)
        if self.best and self.validations:
            self.best.highest = max(returned for _, returned in self.validations)
        for name, buffer in self._buffers():
            buffer.copy_(tensors[f"buffer.{name}"])


def job_of_agent(
    agent: Any,
    data: Any,
    seeds: Mapping[str, Sequence[int]],
    *,
    build: Callable[[], Any],
    loss: Loss,
    example: Callable[[Any, int, Any], Tensor],
) -> Job:
    """Return the training of an agent.

    Args:
        agent: An `Acting` with `batch` and `held_out`, as `Job` has them.
        data: The Config of data.py.
        seeds: Those of the episodes of each split.
        build: Makes the network.
        loss: As that of `Job`.
        example: As that of `Job`.
    """
    return Job(
        config=agent.config,
        data=data,
        name=agent.world.name,
        sha256=agent.world.sha256,
        splits={split: len(each) for split, each in seeds.items()},
        counted="seeds",
        build=build,
        batch=agent.batch,
        held_out=agent.held_out,
        loss=loss,
        example=example,
        unit="transitions",
        average=agent.keep_best,
        experience=agent,
        # Which weights are the best depends on when they are validated.
        identity={"eval_every": agent.config.eval_every},
        entries={"environment": agent.world.name},
    )


def read_validations(state: dict[str, Any]) -> list[list[float]]:
    """Return the transitions and the mean return of each validation.

    Raises:
        ValueError: They are no pairs of finite numbers.
    """
    pairs = state.get(VALIDATIONS, [])
    if not isinstance(pairs, list) or not all(map(_is_pair, pairs)):
        raise ValueError(f"{VALIDATIONS} are no pairs of numbers")
    return pairs


def _is_pair(pair: Any) -> bool:
    if not isinstance(pair, list) or len(pair) != 2:
        return False
    return all(type(each) in (int, float) and math.isfinite(each) for each in pair)


def cut(rows: Batch, size: int) -> Iterator[Batch]:
    """Yield rows in batches of a size."""
    for at in range(0, len(rows[0]), size):
        yield tuple(row[at : at + size] for row in rows)


@dataclass(frozen=True)
class Share:
    """Which environments give the samples of an update.

    Samples stand in the order of environments, so each process has those of its own environments.

    Attributes:
        steps: Samples of each environment that gives any.
        apart: One of so many environments gives samples; the next update takes the next one.
    """

    steps: int
    apart: int

    def places(self, part: int, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Return the environment of some samples of an update, and which of its turns each is.

        Args:
            part: The number of the update.
            samples: Their numbers in the update.
        """
        environments = samples // self.steps * self.apart + part % self.apart
        return environments, part // self.apart * self.steps + samples % self.steps


def share_of(samples: int, environments: int) -> Share:
    """Return how an update of some samples is shared among environments, or stop."""
    if samples % environments and environments % samples:
        fail(
            f"an update of {samples} samples cannot be shared equally among {environments} "
            "environments: choose another --batch-size."
        )
    return Share(max(1, samples // environments), max(1, environments // samples))


@runtime_checkable
class Statistics(Protocol):
    """A part of a network that keeps statistics of what is observed."""

    def update(self, mean: Tensor, variance: Tensor, count: float) -> None:
        """Take those of `count` further observations."""


def moments(rows: Tensor) -> tuple[float, Tensor, Tensor]:
    """Return how many rows (N, D) all processes have, their mean and their variance, (D,) each."""
    x = rows.double()
    sums = total(torch.stack((torch.full_like(x[0], len(x)), x.sum(0), x.square().sum(0))))
    mean = sums[1] / sums[0]
    return float(sums[0, 0]), mean, (sums[2] / sums[0] - mean**2).clamp(min=0)


def normalize(module: nn.Module, observed: Tensor) -> None:
    """Add what all processes observed, (N, obs_dim), to a network's statistics, if it has any."""
    count, mean, variance = moments(observed)
    for part in module.modules():
        if isinstance(part, Statistics):
            part.update(mean.float(), variance.float(), count)
