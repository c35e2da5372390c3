"""What a search chooses: each choice that the spec leaves open, and what a set of them means.

A point has a value for each choice. Numbers are powers of two: 0 leaves a setting as the package
has it, 1 doubles it, -0.5 divides it by the root of two. The same factor changes the scaled-down
model, which is trained, and the full model, which the trial stands for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from metagen.families import ablations
from metagen.families.family import Dims, Value
from metagen.package.bundle import bundle
from metagen.search.shapes import Shapes, Small
from metagen.sizing.search import Design
from metagen.work import Desk

SHAPE, TRAIN, VARIANT, SIZE = "shape.", "train.", "variant", "size"
NONE = "none"
CONFIG, DIMS = "training.config.", "architecture.dims."
RECIPE = {  # Each setting of train.py that a search may change, with its powers of two.
    "learning_rate": (-2.0, 2.0, 0.5),
    "weight_decay": (-2.0, 2.0, 1.0),
    "warmup_steps": (-1.0, 2.0, 1.0),
    "batch_size": (-1.0, 1.0, 1.0),
}
OF_SHAPES = (-1.0, 1.0, 0.5)
OF_SIZES = (-1.0, 0.0, 0.5)
Point = Mapping[str, float | str]


@dataclass(frozen=True)
class Choice:
    """One choice: powers of two from `low` to `high`, or one of some names.

    Attributes:
        name: `shape.<trait>`, `train.<setting>`, `variant` or `size`.
        low: The lowest power.
        high: The highest power.
        step: The distance between two.
        names: The names, instead of powers; the first changes nothing.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    step: float = 1.0
    names: tuple[str, ...] = ()

    @property
    def plain(self) -> float | str:
        """The value that changes nothing."""
        return self.names[0] if self.names else 0.0

    @property
    def values(self) -> tuple[float | str, ...]:
        """All values."""
        count = round((self.high - self.low) / self.step)
        return self.names or tuple(self.low + self.step * place for place in range(count + 1))


@dataclass(frozen=True)
class Candidate:
    """What a point means, known before anything is trained.

    Attributes:
        small: The scaled-down model.
        train: Settings of its training that differ from the package's.
        samples: Factor on the steps, so that every trial reads as many samples.
        design: The full design that it stands for.
        changes: Dimensions of that design which `variant` changes.
        model: The text of code/model.py where the package's own has not such a network.
    """

    small: Small
    train: dict[str, Any]
    samples: float
    design: Design
    changes: Dims
    model: bytes | None = None


@dataclass(frozen=True)
class Space:
    """The choices of a spec, and what each set of them means.

    Attributes:
        desk: Gives the keys of the spec, and what metagen ships.
        shapes: The shapes around its design.
        proxy: The `proxy` section of code/config.json.
        sized: Whether the size is a choice too, as where fewer parameters are an objective.
    """

    desk: Desk
    shapes: Shapes
    proxy: Mapping[str, Mapping[str, Any]]
    sized: bool = False
    _known: dict[str, Candidate | str] = field(default_factory=dict, compare=False)

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """The choices, in order."""
        return (*self._of_shape(), *self._of_variants(), *self._of_recipe(), *self._of_size())

    @property
    def plain(self) -> dict[str, float | str]:
        """The point that is the package's own design and recipe."""
        return {choice.name: choice.plain for choice in self.choices}

    def candidate(self, point: Point) -> Candidate | str:
        """Return what a point means, or why no trial can start there.

        The budget and the limits of the spec are met by the full design of a candidate.
        """
        key = str(sorted(point.items()))
        if key not in self._known:
            self._known[key] = self._candidate(point)
        return self._known[key]

    def _candidate(self, point: Point) -> Candidate | str:
        wanted = {n.removeprefix(SHAPE): factor(v) for n, v in point.items() if _is(n, SHAPE)}
        size, variant = factor(point.get(SIZE, 0.0)), str(point.get(VARIANT, NONE))
        made = self._small(wanted, size, variant)
        if made is None:
            return "no scaled-down model has this shape"
        small, changed = made
        found = self._full(small, size, variant)
        if found is None:
            return "no full design of this shape fills the budget and meets the limits"
        design, changes = found
        train = self._train(self.proxy["train"], point)
        model = self._model(small.dims) if changed else None
        samples = self.proxy["train"]["batch_size"] / train["batch_size"] if train else 1.0
        return Candidate(small, train, samples, design, changes, model)

    def _small(self, wanted: Mapping[str, float], size: float, variant: str) -> Any:
        small = self.shapes.small(wanted, size)
        if small is None or variant == NONE:
            return (small, {}) if small else None
        changes = ablations.variants(self.shapes.family, self._whole(small.dims)).get(variant)
        if changes is None:
            return None
        changed = self.shapes.small(wanted, size, changes)
        return (changed, changes) if changed else None

    def _full(self, small: Small, size: float, variant: str) -> tuple[Design, Dims] | None:
        design = self.shapes.full(small.ratios, size)
        if design is None or variant == NONE:
            return (design, {}) if design else None
        changes = ablations.variants(self.shapes.family, design.everything).get(variant)
        if changes is None or changes.keys() & self.shapes.solution.need.pins.keys():
            return None
        changed = self.shapes.full(small.ratios, size, changes)
        return (changed, changes) if changed else None

    def _whole(self, dims: Dims) -> dict[str, Value]:
        return {**dims, **self.shapes.solution.design.formats}

    def _model(self, dims: Dims) -> bytes | None:
        """Return the code of a network that the package's own model.py does not have."""
        family, own = self.shapes.family, self.shapes.solution.design.dims
        template = family.model_template(dims)
        if template == family.model_template(own):
            return None
        return bundle(template, self.desk.source, {n: dims[n] for n in family.dims if n in dims})

    def _train(self, settings: Mapping[str, Any], point: Point) -> dict[str, Any]:
        """Return the settings that a point changes of a training."""
        names = [name for name in RECIPE if point.get(TRAIN + name)]
        changed = {name: _times(settings[name], factor(point[TRAIN + name])) for name in names}
        if not changed:
            return {}
        batch = changed.setdefault("batch_size", settings["batch_size"])
        steps = max(1, round(settings["steps"] * settings["batch_size"] / batch))
        warmup = changed.get("warmup_steps", settings["warmup_steps"])
        # A warm-up is a share of the training, whose steps change with the batch.
        warmup = round(warmup * steps / settings["steps"])
        return {**changed, "warmup_steps": min(warmup, steps // 2)}

    def keys(self, candidate: Candidate, point: Point) -> dict[str, Any]:
        """Return the keys of a spec that give a candidate's design and training, by full name."""
        design, family = candidate.design, self.shapes.family
        full = family.sections(design.everything, self.desk.key, reduced=False)["train"]
        train = self._train(full, point)
        recipe = {f"{CONFIG}{name}": train[name] for name in RECIPE if point.get(TRAIN + name)}
        pins = self.shapes.pins(design, candidate.changes)
        return {**{f"{DIMS}{name}": value for name, value in pins.items()}, **recipe}

    def _of_shape(self) -> Iterator[Choice]:
        for name in self.shapes.traits:
            choice = Choice(f"{SHAPE}{name}", *OF_SHAPES)
            smalls = [self.shapes.small({name: factor(value)}) for value in choice.values]
            if any(small and small.dims != self.shapes.base for small in smalls):
                yield choice

    def _of_variants(self) -> Iterator[Choice]:
        """Yield the choice among single changes of the structure that no shape includes."""
        family, pinned = self.shapes.family, self.shapes.solution.need.pins
        full = ablations.variants(family, self.shapes.solution.design.everything)
        small = ablations.variants(family, self._whole(self.shapes.base))
        ruled = {*self.shapes.free, *pinned, *family.formats}
        # A loss is that of the inputs and outputs, so a change of these has no rivals.
        ruled |= {*family.task.proxy, *family.task.defaults}
        names = [n for n in full if n in small and not {*full[n], *small[n]} & ruled]
        names = [n for n in names if all(map(self._can_be_pinned, full[n], full[n].values()))]
        names = [n for n in names if self._small({}, 1.0, n) and self._starts(n)]
        if names:
            yield Choice(VARIANT, names=(NONE, *names))

    def _can_be_pinned(self, name: str, value: Value) -> bool:
        """Return whether a spec can have a value: 0 is refused of most dimensions."""
        return isinstance(value, bool) or value > 0 or name in self.shapes.family.zeros

    def _starts(self, variant: str) -> bool:
        return self._full(Small({}, {}), 1.0, variant) is not None

    def _of_recipe(self) -> Iterator[Choice]:
        task, settings = self.shapes.family.task, self.proxy["train"]
        for name, powers in RECIPE.items():
            declared = self.desk.key(CONFIG + name) is not None or name not in task.config_keys
            compared = name == "batch_size" and task.compares_within_a_batch
            warmup = name == "warmup_steps" and self.desk.key(f"{CONFIG}warmup_epochs") is not None
            if settings[name] and not (declared or compared or warmup):
                yield Choice(TRAIN + name, *powers)

    def _of_size(self) -> Iterator[Choice]:
        if self.sized:
            yield Choice(SIZE, *OF_SIZES)


def factor(power: float | str) -> float:
    """Return the factor of a power of two."""
    return float(2.0 ** float(power))


def _is(name: str, kind: str) -> bool:
    return name.startswith(kind)


def _times(value: Any, by: float) -> Any:
    """Return a setting times a factor: a whole number stays one, others keep four digits."""
    return max(1, round(value * by)) if isinstance(value, int) else float(f"{value * by:.4g}")
