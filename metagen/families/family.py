"""What a family of models must bring, so that sizing and measuring know none of them by name."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from metagen import paths
from metagen.errors import Problem, SpecError
from metagen.families import parts
from metagen.families.axes import Axis, Rule, floor_power
from metagen.families.demand import ALONE, Cost, Demand, Need, Use
from metagen.families.parts import HALF, Part
from metagen.families.trend import Line, Row, Trend, rows
from metagen.families.trend import fit as fit_line
from metagen.tasks.task import Dims as Dims
from metagen.tasks.task import Lookup as Lookup
from metagen.tasks.task import Task as Task
from metagen.tasks.task import Value as Value
from metagen.tasks.task import Words as Words
from metagen.tasks.task import declared

Figures = dict[str, tuple[Value | str, str]]


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
        traits: The figures of its shape whose published trend the search follows, by name.
        folder: Its folder below `templates/families/`, where it is not the name.
        table: The table of published models beside this module, where it is not `<name>.csv`.
        rules: Relations between dimensions.
        constants: Dimensions that have one value where nothing fixes them, each with its reason;
            those of the inputs and outputs are the task's.
        fixed_by: The key of the spec that fixes a dimension, other than `architecture.dims`; those
            of the inputs and outputs are the task's.
        checked: Keys of the spec that the family reads in a way of its own.
        left_out: What a design without a dimension has, by the name of each that a pin leaves out.
        zeros: Dimensions that are 0 in a design without what they measure.
        formats: Type of each number format of deployment, by its name in the `infer` section.
        context_dim: The dimension that is the context window, or None for a family without one.
        embedding_modules: Modules of the model whose parameters are embedding tables.
        size_column: The column of published sizes that the trend is fitted against.
        size_unit: What that column counts.
        arithmetic: The kind of published runs whose share of the peak its training has, as in
            `data/shares.csv`; "" where there are none of its kind.
        divided: The dimensions that infer.py divides among the devices that share one model; () for
            a family that runs on one.
        prompted: Whether it reads a prompt of any length before its first output.
        optimal_units: Published compute-optimal data for each parameter, with its source.
        proxy_dims: The dimensions of the scaled-down model that differ from the full model's,
            beside those of the task.
        convolutional: Whether most weights are kernels of convolutions, which Muon does not take.
    """

    name: str
    kind: str
    task: Task
    components: str
    traits: Mapping[str, Trait]
    folder = ""
    table = ""
    rules: tuple[Rule, ...] = ()
    constants: Mapping[str, tuple[Value, str]] = {}
    fixed_by: Mapping[str, str] = {}
    checked: frozenset[str] = frozenset()
    left_out: Mapping[str, str] = {}
    zeros: frozenset[str] = frozenset()
    formats: Mapping[str, type] = {}
    context_dim: str | None = None
    embedding_modules: tuple[str, ...] = ()
    size_column = "params_exact"
    size_unit = "parameters"
    arithmetic = ""
    divided: tuple[str, ...] = ()
    prompted = False
    optimal_units: tuple[float, str] | None = None
    proxy_dims: Mapping[str, Value] = {}
    convolutional = False

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
        """Return changes worth an ablation: (name, dimension, value).

        The names are the same for each design. Entries of one name are one change.
        """
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

    @property
    def windowed(self) -> bool:
        """Whether a spec may declare the context window."""
        return self.context_dim is not None

    def input_length(self, m: Dims, use: Use = ALONE) -> int:
        """Return how many units are read before the first output."""
        return self.context(m) or 1

    def mean_length(self, m: Dims, use: Use = ALONE) -> float:
        """Return the length at which a pass costs as much a unit as reading that input does."""
        return self.input_length(m, use)

    def training_length(self, m: Dims) -> int:
        """Return how many units, as FLOPs are counted for, one training sample has."""
        return self.context(m) or 1

    def lengths(self, full: Mapping[str, Any]) -> tuple[int, list[int]]:
        """Return how many units to measure FLOPs at, and further ones for a curve."""
        return 1, [1]

    def fixed(self, key: Lookup) -> dict[str, Value]:
        """Return the dimensions that keys other than `architecture.dims` fix."""
        return {**self.task.fixed(key), **declared(self.fixed_by, key)}

    def smaller(self, m: Dims) -> Iterable[dict[str, Value]]:
        """Yield smaller designs of the same shape, narrowest first, as rungs of a ladder.

        One dial makes them: depth, heads and inner widths follow the width. Inputs and outputs
        stay. A family without such a rule yields none.
        """
        return ()

    def table_flops(self, m: Dims) -> int:
        """Return the operations a unit of a pass that scale with a vocabulary, not with depth."""
        return 0

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
        trends = {n: trend.lines[n].reason(size, self.size_unit) for n in self.traits if n in m}
        constants = {name: reason for name, (_, reason) in self.constants.items()}
        fixed = {name: key for name, key in self.fixed_by.items() if name in need.fixed}
        return {**self.task.dim_reasons(need.fixed), **constants, **trends, **fixed}

    # What a spec may say of training.

    def check(self, key: Lookup) -> None:
        """Check what a spec says of training.

        Raises:
            SpecError: It asks for what the code does not have.
        """
        problems = list(self.task.refused(key))
        name = "training.config.optimizer"
        if self.convolutional and key(name) == "muon":
            sentence = f"{name}: muon updates matrices, and most weights of {self.name} are kernels"
            problems.append(Problem(sentence, name, "use adamw or sgd"))
        if problems:
            raise SpecError(problems)

    # What axes are made of.

    def usual(self) -> tuple[Axis, ...]:
        """Return the axes of dimensions with one value: the task's defaults and `constants`."""
        values = {name: value for name, (value, _) in self.constants.items()}
        values |= self.task.defaults
        return tuple(Axis(name, lambda m, value=value: (value,)) for name, value in values.items())  # type: ignore[misc]

    def fill(self, m: Dims, name: str, step: int, budget: int) -> int:
        """Return the largest multiple of a step with which the count is within the budget.

        The count must be linear in the dimension. One step is the least.
        """
        # These two counts are used once, so they take no room in the cache of `count`.
        one, two = (parts.count(self.parts({**m, name: times * step})) for times in (1, 2))
        return step * max(1, 1 + (budget - one) // (two - one))

    def within(
        self, budget: int, values: range, design: Callable[[int], Dims], least: int = 1
    ) -> range:
        """Return ascending values, or smaller ones where the first exceeds a very small budget.

        The smaller ones begin at the largest power of two that fits, or at the least, and go up in
        eighths of it. `design` returns the smallest design with a value.
        """
        low = values[0]
        while low > least and self.count(design(low)) > budget:
            low = max(least, floor_power(low - 1))
        return values if low == values[0] else range(low, values[0] + 1, max(1, low // 8))

    # What follows.

    @property
    def template(self) -> str:
        """The source whose `Config` has every dimension of the family."""
        return f"templates/families/{self.folder or self.name}/model.py"

    @property
    def texts(self) -> str:
        """The folder of what documents say of the family."""
        return f"templates/families/{self.folder or self.name}"

    @property
    def published(self) -> str:
        """The table of published models."""
        return f"families/{self.table or self.name}.csv"

    @cached_property
    def _fields(self) -> list[ast.AnnAssign]:
        """The fields of the template's `Config`, in their order."""
        tree = ast.parse(paths.source(self.template).read_bytes())
        config = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Config")
        return [node for node in config.body if isinstance(node, ast.AnnAssign)]

    @cached_property
    def dims(self) -> dict[str, type]:
        """Type of each dimension, by its name in the template's `Config`."""
        types = {"int": int, "float": float, "bool": bool}
        return {ast.unparse(n.target): types[ast.unparse(n.annotation)] for n in self._fields}

    @cached_property
    def written(self) -> dict[str, Value]:
        """The dimensions that the template's `Config` has as it stands."""
        return {ast.unparse(n.target): ast.literal_eval(n.value) for n in self._fields if n.value}

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
        return Trend({n: self.line(t, table, size) for n, t in self.traits.items()}, levels)

    def line(self, trait: Trait, table: list[Row], size: float) -> Line:
        """Fit one trait on published models, those near in size first."""
        points = [(float(row[self.size_column]), trait.published(row)) for row in table]
        return fit_line(points, size, level=trait.level)

    def deviation(self, m: Dims, trend: Trend) -> float:
        """Return the summed squared deviation from the trend; 1 is one usual deviation."""
        size = self.size(m)
        return sum(trend.lines[n].distance(size, t.of(m)) for n, t in self.traits.items())

    def count(self, m: Dims) -> int:
        """Return the exact number of parameters, shared ones counted once."""
        return _count(self, tuple(m), tuple(m.values()))

    def weight_bytes(self, m: Dims) -> int:
        """Return the bytes of parameters and running statistics in bf16."""
        return HALF * (self.count(m) + parts.state(self.parts(m)))

    def demand(self, m: Dims, use: Use = ALONE) -> Demand:
        """Return what one pass of a design takes of the hardware, in bf16."""
        held = HALF * max(peak.numbers for peak in self.peaks(m))
        work = Cost(parts.flops(self.parts(m)), self.bytes_read(m))
        one = Demand(self.weight_bytes(m), cache=0, activations=held, first=work)
        return one.at_once(use.batch)

    def explained(self, m: Dims, parameters: int, use: Use = ALONE) -> dict[str, str]:
        """Return the arithmetic of a demand's weights, cache and activations, by these names.

        `parameters` is the measured count; what an edit of the model added is held at 16 bits.
        """
        state, thing = parts.state(self.parts(m)), self.task.input
        statistics = f" and {state:,} running statistics" if state else ""
        places = [peak.words for peak in self.peaks(m)]
        largest = f"the larger of {' and '.join(places)}" if places[1:] else places[0]
        return {
            "weights": f"{parameters:,}{statistics} at {8 * HALF} bits",
            "cache": f"none: nothing is stored from one {thing} to the next",
            "activations": f"{_several(use, thing)} in bf16: {largest}",
        }

    def changed(self, m: Dims) -> dict[str, dict[str, Value]]:
        """Return the dimensions that each of `changes` sets, by its name."""
        named: dict[str, dict[str, Value]] = {}
        for name, dimension, value in self.changes(m):
            named.setdefault(name, {})[dimension] = value
        return named

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return shape and dtype of each argument of `Model.forward` for `length` units."""
        return self.task.example(m, length)

    def sections(self, m: Dims, key: Lookup, *, reduced: bool) -> dict[str, dict[str, Any]]:
        """Return the `data`, `train`, `eval` and `infer` sections of architecture.yaml."""
        return self.task.sections(m, self.count(m), key, reduced=reduced)

    def setting_reasons(
        self, full: Mapping[str, Any], parameters: int, key: Lookup
    ) -> dict[str, str]:
        """Return why the full model's other settings are so, by `section.name`."""
        return self.task.reasons(full["model"], full, parameters, key)


def _several(use: Use, thing: str) -> str:
    return f"one {thing}" if use.batch == 1 else f"{use.batch} times one {thing}"


@lru_cache(maxsize=2**14)
def _count(family: Family, names: tuple[str, ...], values: tuple[Value, ...]) -> int:
    """Return the count of a design; the search asks for each candidate's more than once."""
    return parts.count(family.parts(dict(zip(names, values, strict=True))))
