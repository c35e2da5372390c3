"""What a design demands of the hardware that runs it, and what a spec allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from metagen.tasks.task import Dims


@dataclass(frozen=True)
class Use:
    """How a model is used, where a spec may declare it.

    Attributes:
        batch: Requests at once.
        prompt: Tokens of a prompt; None for the family's usual length.
    """

    batch: int = 1
    prompt: int | None = None


ALONE = Use()


@dataclass(frozen=True)
class Cost:
    """What one piece of work asks of a processor.

    Attributes:
        flops: Operations; a multiply-add counts as two.
        bytes: What must be read from memory.
        own: The bytes among them that each request of a batch reads for itself.
        calls: How often the model is called.
    """

    flops: float
    bytes: float
    own: float = 0.0
    calls: int = 1

    def at_once(self, batch: int) -> Cost:
        """Return the same work for several requests that share the weights read."""
        if batch == 1:
            return self
        own = batch * self.own
        return replace(self, flops=batch * self.flops, bytes=self.bytes - self.own + own, own=own)

    def in_turn(self, batch: int) -> Cost:
        """Return the same work for several requests, one after the other."""
        if batch == 1:
            return self
        return Cost(batch * self.flops, batch * self.bytes, batch * self.own, batch * self.calls)


@dataclass(frozen=True)
class Demand:
    """What a design asks of the hardware that runs it, by closed forms.

    Attributes:
        weights: Bytes of the parameters in their deployment format.
        cache: Bytes that generation keeps at the full context, for all requests.
        activations: Bytes of the largest intermediate results.
        first: From the start to the first output of every request.
        next: The outputs after it; None where each output takes what the first does.
        last: The outputs that fill the context; None for a family without one.
        weight_bits: Bits of most weights.
        passes: How many passes of one unit after another lead to a first output.
        batch: Requests at once; each piece of work gives so many outputs.
        worth: How much of each unit of a rate an output a second is; a unit that is not named is
            the output itself.
    """

    weights: int
    cache: int
    activations: int
    first: Cost
    next: Cost | None = None
    last: Cost | None = None
    weight_bits: int = 16
    passes: int = 1
    batch: int = 1
    worth: Mapping[str, float] = field(default_factory=dict)

    @property
    def parts(self) -> dict[str, int]:
        """The parts of the memory by their names."""
        return {"weights": self.weights, "cache": self.cache, "activations": self.activations}

    @property
    def memory(self) -> int:
        """Bytes of weights, cache and activations together."""
        return self.weights + self.cache + self.activations

    @property
    def steady(self) -> Cost:
        """What one output of each request after the other takes."""
        return self.next or self.first

    def at_once(self, batch: int) -> Demand:
        """Return the demand of a family that answers several requests in one pass."""
        first, held = self.first.at_once(batch), batch * self.activations
        return replace(self, first=first, activations=held, batch=batch)


@dataclass(frozen=True)
class Limit:
    """A bound on what a design may take.

    Attributes:
        constraint: The key of the spec that sets it, below `constraints`.
        allowed: The most that is allowed; less is better.
        used: What a demand takes of it.
        text: The same in words, with its parts.
        source: The bound in words, with its figure and where it comes from.
        figure: From what is used to the constraint's own figure, such as a rate.
    """

    constraint: str
    allowed: float
    used: Callable[[Demand], float]
    text: Callable[[Demand], str]
    source: str
    figure: Callable[[float], float] = float

    def excess(self, demand: Demand) -> float:
        """Return the logarithm of the factor by which the bound is exceeded; 0 when it is not."""
        return max(0.0, math.log(self.used(demand) / self.allowed))


@dataclass(frozen=True)
class Need:
    """What the dimensions must meet, in base units.

    Attributes:
        budget: Parameters to fill and never to exceed.
        floor: A design with fewer parameters ranks as under-filled.
        limits: Bounds on memory and time.
        context: Tokens, `units.INFINITE` for as many as the limits allow, None for a default.
        pins: Dimensions and formats that the user has fixed.
        fixed: Those of them that keys other than `architecture.dims` fix.
        reason: Where the budget comes from, in words.
        use: Requests at once and the length of a prompt.
    """

    budget: int
    floor: int
    limits: tuple[Limit, ...] = ()
    context: int | str | None = None
    pins: Dims = field(default_factory=dict)
    fixed: Dims = field(default_factory=dict)
    reason: str = ""
    use: Use = ALONE

    def excess(self, demand: Demand) -> float:
        """Return by how much all limits together are exceeded, in factors of e; 0 if met."""
        return sum(limit.excess(demand) for limit in self.limits)
