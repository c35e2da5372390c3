"""What a family of models must bring, so that sizing and measuring know none of them by name."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from metagen import paths
from metagen.families import parts
from metagen.families.parts import HALF, Part
from metagen.families.trend import Line, Row, Trend, rows
from metagen.families.trend import fit as fit_line
from metagen.tasks.task import Benchmark as Benchmark
from metagen.tasks.task import Dims as Dims
from metagen.tasks.task import Key as Key
from metagen.tasks.task import Task as Task
from metagen.tasks.task import Value as Value
from metagen.tasks.task import Words as Words

Figures = dict[str, tuple[Value | str, str]]


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
        budget: Parameters to fill and never to exceed.
        floor: A design with fewer parameters ranks as under-filled.
        limits: Bounds on memory and time.
        context: Tokens, `units.INFINITE` for as many as the limits allow, None for a default.
        pins: Dimensions and formats that the user has fixed.
        fixed: Those of them that keys other than `architecture.dims` fix.
        reason: Where the budget comes from, in words.
    """

    budget: int
    floor: int
    limits: tuple[Limit, ...] = ()
    context: int | str | None = None
    pins: Dims = field(default_factory=dict)
    fixed: Dims = field(default_factory=dict)
    reason: str = ""

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


class Trait(NamedTuple):
    """A figure of a design's shape that published models have a trend of.

    Attributes:
        column: Its column in the table of published models, two with ` / ` between them, or what
            takes it from a row.
        of: The figure of a design.
        level: Whether the trend stays level below the smallest published model; a ratio does not
            fall to 0.
    """

    column: str | Callable[[Row], float]
    of: Callable[[Dims], float]
    level: bool = False

    def published(self, row: Row) -> float:
        """Return the figure of a published model."""
        if callable(self.column):
            return self.column(row)
        top, _, bottom = self.column.partition(" / ")
        return float(row[top]) / (float(row[bottom]) if bottom else 1.0)


def dim(name: str, column: str = "") -> Trait:
    """Return the trait that is a dimension itself; its column has the same name by default."""
    return Trait(column or name, lambda m: float(m[name]))


class Peak(NamedTuple):
    """A place of the forward pass where much is held at once.

    Attributes:
        numbers: Numbers held there.
        words: Their arithmetic, such as `197 positions x (2 x 768 + 3,072)`.
    """

    numbers: int
    words: str


class Family:
    """A family of models. A subclass states its own; the rest follows from its list of parts.

    Attributes:
        name: Name of the family in architecture.yaml, and of its files.
        kind: What one such model is, with no article.
        task: The machine-learning task that it solves.
        components: What `architecture.components[].type` may say, as words of one string.
        shape: The traits whose published trend the search follows, by name.
        folder: Its folder below `templates/families/`, where it is not the name.
        table: The table of published models beside this module, where it is not `<name>.csv`.
        rules: Relations between dimensions.
        formats: Type of each number format of deployment, by its name in the `infer` section.
        context_dim: The dimension that is the context window, or None for a family without one.
        embedding_modules: Modules of the model whose parameters are embedding tables.
        size_column: The column of published sizes that the trend is fitted against.
        size_unit: What that column counts.
        loss_level: (metric, factor): the metric's baselines times the factor are losses.
        training_flops: Operations of training a parameter and unit; None where they are measured.
        optimal_units: Published compute-optimal data for each parameter, with its source.
        proxy_dims: The dimensions of the scaled-down model that differ from the full model's,
            beside those of the task.
    """

    name: str
    kind: str
    task: Task
    components: str
    shape: Mapping[str, Trait]
    folder = ""
    table = ""
    rules: tuple[Rule, ...] = ()
    formats: Mapping[str, type] = {}
    context_dim: str | None = None
    embedding_modules: tuple[str, ...] = ()
    size_column = "params_exact"
    size_unit = "parameters"
    loss_level: tuple[str, float] | None = None
    training_flops: int | None = None
    optimal_units: tuple[float, str] | None = None
    optimizer = "adamw"
    proxy_dims: Mapping[str, Value] = {}

    # What a family must state.

    def parts(self, m: Dims) -> Iterable[Part]:
        """Return what a design is made of, each layer with its weights and its operations."""
        raise NotImplementedError

    def peaks(self, m: Dims) -> list[Peak]:
        """Return the places of a pass that may hold most; the largest is what memory needs."""
        raise NotImplementedError

    def axes(self, need: Need, trend: Trend) -> tuple[Axis, ...]:
        """Return the search space, in the order in which dimensions are chosen."""
        raise NotImplementedError

    def changes(self, m: Dims) -> Iterable[tuple[str, str, Value]]:
        """Return single changes worth an ablation: (name, dimension, value)."""
        raise NotImplementedError

    # What a family may state otherwise.

    def rows(self, published: bytes) -> list[Row]:
        """Return the published models that the trend is fitted on."""
        return rows(published)

    def levels(self, table: list[Row]) -> dict[str, float]:
        """Return single figures taken from the published models, such as a median."""
        return {}

    def size(self, m: Dims) -> int:
        """Return the size of a design that the trend is about."""
        return self.count(m)

    def around(self, budget: int, levels: Mapping[str, float]) -> float:
        """Return the size near which published models weigh most, for a count to fill."""
        return budget

    def model_template(self, m: Dims) -> str:
        """Return the source of `code/model.py` for a design with these dimensions."""
        return self.template

    def bytes_read(self, m: Dims) -> float:
        """Return the bytes that a pass reads from memory: all weights once."""
        return float(self.weight_bytes(m))

    def context(self, m: Dims) -> int | None:
        """Return the context window in tokens, or None for a family without one."""
        return int(m[self.context_dim]) if self.context_dim else None

    def input_length(self, m: Dims) -> int:
        """Return how many units are read before the first output."""
        return self.context(m) or 1

    def training_length(self, m: Dims) -> int:
        """Return how many units, as FLOPs are counted for, one training sample has."""
        return self.context(m) or 1

    def lengths(self, full: Mapping[str, Any]) -> tuple[int, list[int]]:
        """Return how many units to measure FLOPs at, and further ones for a curve."""
        return 1, [1]

    def fixed(self, key: Key) -> dict[str, Value]:
        """Return the dimensions that keys other than `architecture.dims` fix."""
        return self.task.fixed(key)

    def proxy(self, m: Dims) -> dict[str, Value]:
        """Return the dimensions of the scaled-down model that is trained in the build."""
        full = {name: m[name] for name in self.dims if name in m}
        return {**full, **self.task.proxy, **self.proxy_dims}

    def figures(self, m: Dims) -> Figures:
        """Return facts of the family's own documents: a value and its unit, by name."""
        return {}

    def reasons(self, m: Dims, need: Need, trend: Trend) -> dict[str, str]:
        """Return why each dimension has its value, with the figures that decided it."""
        size = self.size(m)
        trends = {n: trend.lines[n].said(size, self.size_unit) for n in self.shape if n in m}
        return {**self.task.dim_reasons(need.fixed), **trends}

    # What follows.

    @property
    def words_folder(self) -> str:
        """The folder of the model's source and of its words below `templates/families/`."""
        return self.folder or self.name

    @property
    def template(self) -> str:
        """The source whose `Config` has every dimension of the family."""
        return f"templates/families/{self.words_folder}/model.py"

    @property
    def published(self) -> str:
        """The table of published models."""
        return f"families/{self.table or self.name}.csv"

    @cached_property
    def dims(self) -> dict[str, type]:
        """Type of each dimension: the fields of the template's `Config`, in their order."""
        tree = ast.parse(paths.source(self.template).read_bytes())
        config = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Config")
        fields = [node for node in config.body if isinstance(node, ast.AnnAssign)]
        types = {"int": int, "float": float, "bool": bool}
        return {ast.unparse(node.target): types[ast.unparse(node.annotation)] for node in fields}

    @cached_property
    def component_types(self) -> frozenset[str]:
        """The words of `components`."""
        return frozenset(self.components.split())

    @property
    def words(self) -> Words:
        """The family in its documents."""
        return Words(kind=self.kind, **self.task.words)

    def fit(self, published: bytes, budget: int) -> Trend:
        """Fit each trait on the published models, those near in size first."""
        table = self.rows(published)
        levels = self.levels(table)
        size = self.around(budget, levels)
        return Trend({n: self.line(t, table, size) for n, t in self.shape.items()}, levels)

    def line(self, trait: Trait, table: list[Row], size: float) -> Line:
        """Fit one trait on published models, those near in size first."""
        points = [(float(row[self.size_column]), trait.published(row)) for row in table]
        return fit_line(points, size, level=trait.level)

    def cost(self, m: Dims, trend: Trend) -> float:
        """Return the summed squared deviation from the trend; 1 is one usual deviation."""
        size = self.size(m)
        return sum(trend.lines[n].distance(size, t.of(m)) for n, t in self.shape.items())

    def count(self, m: Dims) -> int:
        """Return the exact number of parameters, shared ones counted once."""
        return _count(self, tuple(m), tuple(m.values()))

    def weight_bytes(self, m: Dims) -> int:
        """Return the bytes of parameters and running statistics in bf16."""
        return HALF * (self.count(m) + parts.state(self.parts(m)))

    def load(self, m: Dims) -> Load:
        """Return what one pass of a design takes of the hardware, in bf16 at batch 1."""
        held = HALF * max(peak.numbers for peak in self.peaks(m))
        work = Work(parts.flops(self.parts(m)), self.bytes_read(m))
        return Load(self.weight_bytes(m), cache=0, activations=held, first=work)

    def explained(self, m: Dims, parameters: int) -> dict[str, str]:
        """Return the arithmetic of a load's weights, cache and activations, by these names.

        `parameters` is the measured count; what an edit of the model added is held at 16 bits.
        """
        state, thing = parts.state(self.parts(m)), self.task.input
        statistics = f" and {state:,} running statistics" if state else ""
        places = [peak.words for peak in self.peaks(m)]
        largest = f"the larger of {' and '.join(places)}" if places[1:] else places[0]
        return {
            "weights": f"{parameters:,}{statistics} at {8 * HALF} bits",
            "cache": f"none: no {thing} leaves anything for the next",
            "activations": f"one {thing} in bf16: {largest}",
        }

    def variants(self, m: Dims) -> list[tuple[str, dict[str, Value]]]:
        """Return the ablations that change something and break no rule."""
        changed = [
            (name, {n: value}) for name, n, value in self.changes(m) if m.get(n, value) != value
        ]
        return [(n, c) for n, c in changed if not any(r.broken({**m, **c}) for r in self.rules)]

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return shape and dtype of each argument of `Model.forward` for `length` units."""
        return self.task.example(m, length)

    def sections(self, m: Dims, key: Key, *, reduced: bool) -> dict[str, dict[str, Any]]:
        """Return the `data`, `train`, `eval` and `infer` sections of architecture.yaml."""
        return self.task.sections(m, self.count(m), key, reduced=reduced)

    def setting_reasons(self, full: Mapping[str, Any], parameters: int, key: Key) -> dict[str, str]:
        """Return why the full model's other settings are so, by `section.name`."""
        return self.task.reasons(full["model"], full, parameters, key)

    # The task's own, for readers who have a family at hand.

    @property
    def task_folder(self) -> str:
        """The folder with the sources of the package's other code files."""
        return self.task.folder

    @property
    def benchmark(self) -> Benchmark:
        """How the proxy is trained and scored."""
        return self.task.benchmark

    @property
    def config_keys(self) -> frozenset[str]:
        """Entries of the spec's `training.config` that have a setting."""
        return self.task.config_keys

    @property
    def runtime(self) -> tuple[str, ...]:
        """Modules of `templates/runtime` that its scripts need beyond the core."""
        return self.task.runtime

    @property
    def work_unit(self) -> str:
        """What `constraints.throughput` counts: `tok`, `img`, ..."""
        return self.task.work_unit

    @property
    def training_unit(self) -> str:
        """What training data is counted in: `tokens`, `images`, ..."""
        return self.task.training_unit


@lru_cache(maxsize=2**14)
def _count(family: Family, names: tuple[str, ...], values: tuple[Value, ...]) -> int:
    """Return the count of a design; the search asks for each candidate's more than once."""
    return parts.count(family.parts(dict(zip(names, values, strict=True))))


def usual(values: Mapping[str, Value]) -> tuple[Axis, ...]:
    """Return axes of dimensions that have one value where nothing fixes them."""
    return tuple(Axis(name, lambda m, value=value: (value,)) for name, value in values.items())  # type: ignore[misc]


def divides(part: str, whole: str, why: str) -> Rule:
    """Return the rule that one dimension divides another; `why` begins its sentence."""
    sentence = f"{why}, so {whole} must be a multiple of {part}"
    return Rule((whole, part), lambda m: m[whole] % m[part] == 0, sentence)
