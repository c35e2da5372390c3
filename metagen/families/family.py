"""What a family of models must bring, so that sizing and measuring know none of them by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from metagen.families.trend import Trend

Value = int | float | bool
Dims = Mapping[str, Value]
Key = Callable[[str], Any]


@dataclass(frozen=True)
class Work:
    """What one piece of work asks of a processor.

    Attributes:
        flops: Operations; a multiply-add counts as two.
        bytes: What must be read from memory.
    """

    flops: float
    bytes: float


@dataclass(frozen=True)
class Load:
    """What a design asks of the hardware that runs it, at batch 1 and by closed forms.

    Attributes:
        weights: Bytes of the parameters in their deployment format.
        cache: Bytes that generation keeps for one sequence at the full context.
        activations: Bytes of the largest intermediate results.
        first: From the start to the first output.
        next: The output after it; None where each output takes what the first does.
        last: The output that fills the context; None for a family without one.
        weight_bits: Bits of most weights.
        passes: How often the model runs for the first output.
    """

    weights: int
    cache: int
    activations: int
    first: Work
    next: Work | None = None
    last: Work | None = None
    weight_bits: int = 16
    passes: int = 1

    @property
    def memory(self) -> int:
        """Bytes of weights, cache and activations together."""
        return self.weights + self.cache + self.activations

    @property
    def steady(self) -> Work:
        """What one output after the other takes."""
        return self.next or self.first


@dataclass(frozen=True)
class Benchmark:
    """What the scaled-down model is trained on and scored on in a build.

    Attributes:
        name: What it tests, such as `held-out text`.
        steps: Updates for each value of `evaluation.bench` that runs it.
        packages: What pip must have installed for the data to be there.
    """

    name: str
    steps: Mapping[str, int]
    packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Words:
    """A family in the words of its documents.

    Attributes:
        kind: What one such model is, with no article.
        pipeline_tag: The Hub's name for its task, a key of huggingface.js' `PIPELINE_DATA`.
        unit: What operations are counted for, such as `token`.
        loss_unit: What the training loss is counted in.
        usage: The arguments that show what `infer.py` does.
        does: What `infer.py` then does, such as `continues a prompt`.
        data: What the proxy is trained on.
        outcome: Caption of the figure that shows what the proxy does on the held-out split.
        risks: What nobody measured of either model.
    """

    kind: str
    pipeline_tag: str
    unit: str
    loss_unit: str
    usage: str
    does: str
    data: str
    outcome: str
    risks: str


@dataclass(frozen=True)
class Limit:
    """A bound on what a design may take.

    Attributes:
        constraint: The key of the spec that sets it, below `constraints`.
        allowed: The most that is allowed; less is better.
        used: What a load takes of it.
        said: What a load takes of it, written with its parts.
        source: The bound in words, with its figure and where it comes from.
        figure: From what is used to the constraint's own figure, such as a rate.
    """

    constraint: str
    allowed: float
    used: Callable[[Load], float]
    said: Callable[[Load], str]
    source: str
    figure: Callable[[float], float] = float

    def excess(self, load: Load) -> float:
        """Return the logarithm of the factor by which the bound is exceeded; 0 when it is not."""
        return max(0.0, math.log(self.used(load) / self.allowed))


@dataclass(frozen=True)
class Need:
    """What the dimensions must meet, in base units.

    Attributes:
        parameters: Count to fill and never to exceed.
        floor: Smallest count that is welcome.
        limits: Bounds on memory and time.
        context: Tokens, `units.INFINITE` for as many as the limits allow, None for a default.
        pins: Dimensions and formats that the user has fixed.
        fixed: Those of them that keys other than `architecture.dims` fix.
    """

    parameters: int
    floor: int
    limits: tuple[Limit, ...] = ()
    context: int | str | None = None
    pins: Dims = field(default_factory=dict)
    fixed: Dims = field(default_factory=dict)

    def excess(self, load: Load) -> float:
        """Return by how much all limits together are exceeded, in factors of e; 0 if met."""
        return sum(limit.excess(load) for limit in self.limits)


@dataclass(frozen=True)
class Axis:
    """One dimension of the search space, chosen after those before it.

    An axis with a price is a lever: its other values are taken where the first breaks a limit.

    Attributes:
        name: Name of the dimension or format.
        choices: The values to try, given what is already chosen; None leaves the dimension out.
        price: What each value but the first, plain one costs, in usual deviations squared.
        words: A lever's choice in words, such as `full attention`.
        grid: Whether the axis spans the grid of shapes, rather than following from the others.
        fills: Whether it takes what the others leave of the parameter count, or else its least.
    """

    name: str
    choices: Callable[[Dims], Iterable[Value | None]]
    price: Callable[[Dims, Value | None], float] | None = None
    words: Callable[[Dims], str] | None = None
    grid: bool = False
    fills: bool = False


@dataclass(frozen=True)
class Rule:
    """A relation that dimensions must satisfy for the model to exist.

    Attributes:
        names: The dimensions that the rule relates; it holds where one of them is absent.
        holds: Whether the rule is satisfied.
        sentence: The rule in words.
    """

    names: tuple[str, ...]
    holds: Callable[[Dims], bool]
    sentence: str

    def broken(self, dims: Dims) -> bool:
        """Return whether dimensions have all that the rule relates and break it."""
        return all(name in dims for name in self.names) and not self.holds(dims)


class Family(Protocol):
    """The dimensions, the counts and the published shape of one family; a module is one.

    Attributes:
        name: Name of the family in architecture.yaml.
        published: The table of published models that the trend is fitted on.
        task_folder: The folder with the sources of the package's other code files.
        component_types: What `architecture.components[].type` may say.
        dims: Type of each dimension, in the order of `Config`; a template may lack some.
        formats: Type of each number format of deployment, by its name in the `infer` section.
        context_dim: The dimension that is the context window, or None for a family without one.
        rules: Relations between dimensions.
        embedding_modules: Modules of the model whose parameters are embedding tables.
        config_keys: Entries of the spec's `training.config` that have a setting.
        optimizer: The optimizer of train.py.
        runtime: Modules of `templates/runtime` that its scripts need beyond the core.
        benchmark: How the proxy is trained and scored.
        words: The family in its documents.
        loss_level: A metric whose baselines lie on the axis of the loss, and the loss by it.
        work_unit: What `constraints.throughput` counts: `tok`, `img`, ...
        training_unit: What training data is counted in: `tokens`, `images`, ...
        training_flops: Operations of training a parameter and unit; None where they are measured.
        optimal_units: Published compute-optimal data for each parameter, with its source.
    """

    name: str
    published: str
    task_folder: str
    component_types: frozenset[str]
    dims: Mapping[str, type]
    formats: Mapping[str, type]
    context_dim: str | None
    rules: tuple[Rule, ...]
    embedding_modules: tuple[str, ...]
    config_keys: frozenset[str]
    optimizer: str
    runtime: tuple[str, ...]
    benchmark: Benchmark
    words: Words
    loss_level: tuple[str, float] | None
    work_unit: str
    training_unit: str
    training_flops: int | None
    optimal_units: tuple[float, str] | None

    def model_template(self, dims: Dims) -> str:
        """Return the source of `code/model.py` for a design with these dimensions."""

    def fit(self, published: bytes, parameters: int) -> Trend:
        """Fit the published trend around a size on the family's rows."""

    def fixed(self, key: Key) -> dict[str, Value]:
        """Return the dimensions that keys other than `architecture.dims` fix."""

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        """Return the search space, in the order in which dimensions are chosen."""

    def count(self, dims: Dims) -> int:
        """Return the exact number of parameters, shared ones counted once."""

    def cost(self, dims: Dims, trend: Trend) -> float:
        """Return the distance from the published trend; 1 is one usual deviation."""

    def context(self, dims: Dims) -> int | None:
        """Return the context window in tokens, or None for a family without one."""

    def load(self, dims: Dims) -> Load:
        """Return what a design with these dimensions and formats asks of its hardware."""

    def explained(self, dims: Dims, parameters: int) -> dict[str, str]:
        """Return the arithmetic of a load's weights, cache and activations, by these names.

        `parameters` is the measured count; what an edit of the model added is held at 16 bits.
        """

    def reasons(self, dims: Dims, need: Need, trend: Trend) -> dict[str, str]:
        """Return why each dimension has its value, with the figures that decided it."""

    def proxy(self, dims: Dims) -> dict[str, Value]:
        """Return the dimensions of the scaled-down model that is trained in the build."""

    def sections(self, dims: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
        """Return the `data`, `train`, `eval` and `infer` sections of architecture.yaml."""

    def setting_reasons(self, full: Mapping[str, Any], parameters: int, key: Key) -> dict[str, str]:
        """Return why the full model's other settings are so, by `section.name`."""

    def variants(self, dims: Dims) -> Iterable[tuple[str, dict[str, Value]]]:
        """Return the ablations worth running: a name and the dimensions that it changes."""

    def example(self, dims: Dims, length: int) -> list[dict[str, Any]]:
        """Return shape and dtype of each argument of `Model.forward` for so many units."""

    def lengths(self, sections: Mapping[str, Any]) -> tuple[int, list[int]]:
        """Return how many units to measure FLOPs at, and further ones for a curve."""

    def input_length(self, dims: Dims) -> int:
        """Return how many units are read before the first output."""

    def training_length(self, dims: Dims) -> int:
        """Return how many units, as FLOPs are counted for, one `training_unit` is."""

    def figures(self, dims: Dims) -> dict[str, tuple[Value | str, str]]:
        """Return facts of the family's own documents: a value and its unit, by name."""
