"""A machine-learning task: what every family that solves it shares.

A task knows its inputs and outputs, the data and the benchmark of its scaled-down model, and the
settings of `data.py`, `train.py`, `eval.py` and `infer.py`, which lie in `templates/tasks/<name>/`.
It knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metagen.amounts import ITEMS
from metagen.errors import Problem, SpecError
from metagen.tasks.schedule import Growth, Habits, Schedule, uncounted
from metagen.tasks.schedule import Lookup as Lookup

Value = int | float | bool
Dims = Mapping[str, Value]
Section = dict[str, Any]
Switch = tuple[str, str, Value | str]


@dataclass(frozen=True)
class Benchmark:
    """What the scaled-down model is trained on and scored on in a build.

    Attributes:
        name: What it tests, such as `held-out text`.
        steps: Updates for each value of `evaluation.bench` that runs it.
        packages: What pip must have installed for the data to be there.
        alone: What pip must have installed besides, as `name==version`, whose own requirements the
            data does not need: `pip install --no-deps`.
        seeds: Trainings of the quick benchmark, each with a seed of its own; 3 where training and
            scoring take about ten seconds of one thread, else 1.
        again: Options of eval.py for the seeds after the first, which leave out what takes long.
        sheets: The data sheets of its data, by their names in `templates/data_sheets/`.
    """

    name: str
    steps: Mapping[str, int]
    packages: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    seeds: int = 3
    again: tuple[str, ...] = ()
    sheets: tuple[str, ...] = ()


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
        risks: What was measured of neither model.
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


class Task:
    """One machine-learning task; what most tasks have in common is stated here once.

    Attributes:
        name: Its folder below `templates/tasks/`.
        benchmark: How the proxy is trained and scored.
        words: The texts of `Words`, all but the family's own `kind`.
        config_keys: Entries of the spec's `training.config` that have a setting.
        checked: Keys of the spec that the task reads in a way of its own.
        metrics: What eval.py reports; the name of one may go on, as in `recall_at_1_text_to_image`.
        work_unit: What `constraints.throughput` counts: `tok`, `img`, ...
        rates: Further units that `constraints.throughput` may have, as `Demand.worth` names them.
        units: Words of `training.data.size` that count its training data, the usual one first.
        input: What one pass is over, in a sentence: an `image`, a `row`, a `text`.
        defaults: The dimensions of its inputs and outputs, for a spec that declares none.
        default_reasons: Why each of `defaults` has its value.
        proxy: The same dimensions for the bundled data.
        fixed_by: The key of the spec that fixes a dimension, other than `architecture.dims`.
        unit_vectors: Whether the network makes the length of its outputs 1, which the class of
            transformers that has its weights leaves to its caller.
        compares_within_a_batch: Whether the loss of a sample depends on the others of its batch, so
            that losses of different batches are no rivals.
        shared: The folder, below `templates/tasks/`, of each file that several tasks share.
        taken: What stands for the value of `--data` in commands.
        growth: How batch and rate grow with the size of a model; None where no rule is published.
        switches: Changes of its training worth an ablation: a name, a setting as
            `section.setting`, and its value.
        more_passes: What passes through the network in an update beside its samples, forward and
            backward, in words; the operations of an update are then counted on train.py's loss.
        demonstration: The arguments of infer.py for a sample of output that documents show; "" for
            none, as where infer.py reads a file of the user.
    """

    name: str
    benchmark: Benchmark
    words: Mapping[str, str]
    config_keys = frozenset(
        {"batch_size", "epochs", "learning_rate", "optimizer"}
        | {"warmup_epochs", "warmup_steps", "weight_decay"}
    )
    checked: frozenset[str] = frozenset()
    metrics: tuple[str, ...]
    work_unit = "sample"
    rates: tuple[str, ...] = ()
    units: tuple[str, ...] = ITEMS
    input = "input"
    defaults: Mapping[str, Value] = {}
    default_reasons: Mapping[str, str] = {}
    proxy: Mapping[str, Value] = {}
    fixed_by: Mapping[str, str] = {}
    unit_vectors = False
    compares_within_a_batch = False
    shared: Mapping[str, str] = {}
    taken = "PATH"
    growth: Growth | None = None
    switches: tuple[Switch, ...] = ()
    more_passes = ""
    demonstration = ""

    # What a task must state of its settings.

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        """Return how the full model of these dimensions trains where the spec is silent."""
        raise NotImplementedError

    def proxy_habits(self, m: Dims) -> Habits:
        """Return how the scaled-down model trains, whatever the spec declares."""
        raise NotImplementedError

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        """Return the settings of `data.py`."""
        raise NotImplementedError

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        """Return the settings of `eval.py`."""
        raise NotImplementedError

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        """Return the settings of `infer.py`."""
        raise NotImplementedError

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return shape and dtype of each argument of `Model.forward` for `length` units.

        Whole numbers that count something else have `below`, which each of them is less than.
        """
        raise NotImplementedError

    # What a task may add.

    def fixed(self, key: Lookup) -> dict[str, Value]:
        """Return the dimensions that keys other than `architecture.dims` fix."""
        return declared(self.fixed_by, key)

    def amount(self, data: Section) -> int:
        """Return how many units of training data a sample holds, from the settings of data.py."""
        return 1

    def train(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        """Return the settings of `train.py` beyond those of every task."""
        return {}

    def more_reasons(self, full: Mapping[str, Any], key: Lookup) -> dict[str, str]:
        """Return why settings beyond the schedule have their values, by `section.name`."""
        return {}

    def preparation(self, data: Mapping[str, Any]) -> str:
        """Return the command that makes much data readable, "" where train.py reads any as it is.

        `data` is the `data` section of the size that reads it.
        """
        return ""

    def published(self, benchmarks: Sequence[str]) -> tuple[str, tuple[str, ...]]:
        """Return the command that runs published benchmarks, and those that it leaves out.

        The command, "" for none, is for a checkpoint of the full model, in `code/`.
        """
        return "", ()

    def refused(self, key: Lookup) -> Iterator[Problem]:
        """Yield a problem for each declared setting of training that the code does not have."""
        yield from ()

    def left_out(self, key: Lookup) -> dict[str, str]:
        """Return why a declared setting is followed in part only, by the key."""
        return {}

    # What follows.

    def undone(self, key: Lookup) -> dict[str, str]:
        """Return why a declared setting, a warm-up too, is followed in part only, by the key."""
        habits = self.habits({**self.defaults, **self.proxy}, 1, key)
        return Schedule.declared(habits, key).shortened(key) | self.left_out(key)

    def uncounted(self, key: Lookup) -> dict[str, str]:
        """Return the declared keys without an effect since the data is not counted, with why."""
        # Whether an epoch has a length differs by task, and not by dimensions.
        return uncounted(self.habits({**self.defaults, **self.proxy}, 1, key), key)

    @property
    def training_unit(self) -> str:
        """What training data is counted in: `tokens`, `images`, ..."""
        return self.units[0]

    def source(self, file: str) -> str:
        """Return the source of a file of the package's code, or of a text about the task.

        It is in the task's folder, or in that of the tasks that share it.
        """
        return f"templates/tasks/{self.shared.get(file, self.name)}/{file}"

    def dim_reasons(self, fixed: Dims) -> dict[str, str]:
        """Return why the dimensions of inputs and outputs have their values."""
        keys = {dim: key for dim, key in self.fixed_by.items() if dim in fixed}
        return {**self.default_reasons, **keys}

    def schedule(self, m: Dims, parameters: int, key: Lookup, *, reduced: bool) -> Schedule:
        """Return how long and in which steps a model trains."""
        if reduced:
            return Schedule.of_proxy(self.proxy_habits(m), self.benchmark.steps["quick"])
        return Schedule.declared(self.habits(m, parameters, key), key)

    def sections(
        self, m: Dims, parameters: int, key: Lookup, *, reduced: bool
    ) -> dict[str, Section]:
        """Return the `data`, `train`, `eval` and `infer` sections of architecture.yaml."""
        schedule = self.schedule(m, parameters, key, reduced=reduced)
        settings = schedule.fields(key("reproducibility.seed"))
        return {
            "data": self.data(m, key, reduced=reduced),
            "train": {**settings, **self.train(m, key, reduced=reduced)},
            "eval": self.eval(m, key, reduced=reduced),
            "infer": self.infer(m, key, reduced=reduced),
        }

    def reasons(
        self, m: Dims, full: Mapping[str, Any], parameters: int, key: Lookup
    ) -> dict[str, str]:
        """Return why the full model's settings have their values, by `section.name`."""
        schedule = self.schedule(m, parameters, key, reduced=False)
        return {**schedule.reasons(key), **self.more_reasons(full, key)}


IMAGE_SIDES = dict.fromkeys(("image_height", "image_width"), "constraints.image_size")


def declared(keys: Mapping[str, str], key: Lookup) -> dict[str, Value]:
    """Return the dimensions that a spec declares by some keys; none where it is silent.

    Raises:
        SpecError: The sides of a square differ.
    """
    values = {dim: _part(dim, name, key(name)) for dim, name in keys.items()}
    return {dim: value for dim, value in values.items() if value}


def _part(dim: str, name: str, value: Any) -> Any:
    """Return what a declared value says of a dimension: of a size, one side or that of a square."""
    if not isinstance(value, tuple):
        return value
    if dim in IMAGE_SIDES:
        return value[tuple(IMAGE_SIDES).index(dim)]
    if value[0] != value[1]:
        raise SpecError([Problem(f"{name}: {list(value)} is no square", name, "give one figure")])
    return value[0]
