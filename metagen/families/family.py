"""What a family of models must bring, so that sizing and measuring know none of them by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from metagen.families.trend import Trend

Value = int | float | bool
Dims = Mapping[str, Value]
Key = Callable[[str], Any]


@dataclass(frozen=True)
class Need:
    """What the dimensions must meet, in base units.

    Attributes:
        parameters: Count to fill and never to exceed.
        floor: Smallest count that is welcome.
        memory: Bytes that weights and cache may take, or None when nothing limits them.
        context: Tokens, `units.INFINITE` for as many as the memory allows, or None for the
            family's default.
        pins: Dimensions that the user has fixed.
    """

    parameters: int
    floor: int
    memory: int | None
    context: int | str | None
    pins: Dims = field(default_factory=dict)


@dataclass(frozen=True)
class Axis:
    """One dimension of the search space, chosen after those before it.

    Attributes:
        name: Name of the dimension.
        choices: The values to try, given the dimensions that are already chosen.
    """

    name: str
    choices: Callable[[Dims], Iterable[Value]]


@dataclass(frozen=True)
class Rule:
    """A relation that dimensions must satisfy for the model to exist.

    Attributes:
        names: The dimensions that the rule relates.
        holds: Whether the rule is satisfied.
        sentence: The rule in words.
    """

    names: tuple[str, ...]
    holds: Callable[[Dims], bool]
    sentence: str


class Family(Protocol):
    """The dimensions, the counts and the published shape of one family; a module is one.

    Attributes:
        name: Name of the family in architecture.yaml.
        model_template: The source of `code/model.py`.
        task_folder: The folder with the sources of the package's other code files.
        component_types: What `architecture.components[].type` may say.
        dims: Type of each model dimension, in the order of the model's `Config`.
        rules: Relations between dimensions.
        embedding_modules: Modules of the model whose parameters are embedding tables.
        config_keys: Entries of the spec's `training.config` that have a setting.
        optimizer: The optimizer of train.py.
        bench_steps: Updates of the proxy for each value of `evaluation.bench` that runs it.
        work_unit: What `constraints.throughput` counts: `tok`, `img`, ...
    """

    name: str
    model_template: str
    task_folder: str
    component_types: frozenset[str]
    dims: Mapping[str, type]
    rules: tuple[Rule, ...]
    embedding_modules: tuple[str, ...]
    config_keys: frozenset[str]
    optimizer: str
    bench_steps: Mapping[str, int]
    work_unit: str

    def fit(self, published: bytes) -> Trend:
        """Fit the published trend on `data/published_models.csv`."""

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        """Return the search space, in the order in which dimensions are chosen."""

    def count(self, dims: Dims) -> int:
        """Return the exact number of parameters, shared ones counted once."""

    def cost(self, dims: Dims, trend: Trend) -> float:
        """Return the distance from the published trend; 1 is one usual deviation."""

    def context(self, dims: Dims) -> int | None:
        """Return the context window in tokens, or None for a family without one."""

    def cache_bytes(self, dims: Dims, tokens: int) -> int:
        """Return the bytes that generation keeps for one sequence of `tokens` tokens."""

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
        """Return shape and dtype of each argument of `Model.forward` for one sample."""

    def lengths(self, sections: Mapping[str, Any]) -> tuple[int, list[int]]:
        """Return the length to measure FLOPs at, and further ones for a curve."""
