"""Facts: the only door from numbers to prose.

A fact is a value with its unit and its source: an entry of a file of the package, a key of the
spec, or a figure derived here from such entries, with its formula. A document prints nothing else,
so each numeral in it can be traced. A document that requests a missing fact stops the build; an
empty fact reads "not declared", "not computed" or "not measured".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from metagen import families
from metagen.docs import citation, commands, content, numbered, scores, statement, training, wording
from metagen.docs.content import design
from metagen.docs.fact import Fact, Figure, MissingFact, Printed, Ref, address, file, source
from metagen.docs.sources import BOUND, FILES, FULL_ORIGINS, ORIGINS, SOURCES, SPEC, TERMS, UNITS
from metagen.families.effects import UNUSED
from metagen.families.family import Family, Words
from metagen.measure.results import FULL, MEASURED, NOT_TRAINED, PROXY
from metagen.sizing import devices
from metagen.sizing.devices import Device
from metagen.work import Desk

# The records of these entries also hold their unit.
_BESIDE = (
    "constraints.*.required",
    "constraints.*.computed",
    "results.*.value",
    "results.*.baselines.*",
    "plan.*.planned",
    "plan.*.actual",
)
# Texts that hold arithmetic.
_ARITHMETIC = (
    *("constraints.*.formula", "arch.decisions.*.reason", "derived.sentence.*"),
    *("sheets.*", "derived.sources.*", "derived.named_sources.*"),
    *("derived.computed.*", "derived.energy_formula"),
)
_WORDS = tuple(field.name for field in dataclasses.fields(Words))
# The record of the trained model names the units that these are counted in.
_COUNTED = {
    "trained.units": ("trained.unit", "{}"),
    "trained.throughput": ("trained.unit", "{}/s"),
    "trained.data.splits.*": ("trained.data.unit", "{}"),
    "data.splits.*": ("data.unit", "{}"),
}
_NOT_DECLARED = ("spec.*", "constraints.*.required", "params.budget.*")


class Facts:
    """The facts of one package, and the record of those that a document printed.

    Args:
        desk: Where files and spec keys are read; only requested facts are read.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._read: dict[str, None] = {}
        self.printed: list[Printed] = []

    def get(self, name: str | Ref) -> Fact:
        """Return a fact; a derived one has the address `derived.<name>`.

        Raises:
            MissingFact: It is in no file.
        """
        ref = Ref(name)
        if ref[0] == "term":
            return Fact(str(ref), TERMS[ref[1]], "", "")
        if ref[0] == "derived":
            return self._computed(ref)
        return Fact(str(ref), self.entry(ref), self._unit(ref), source(ref), (address(ref),))

    def text(self, name: str | Ref, style: str = "full") -> str:
        """Return a fact as text and record that it was printed; the styles are `wording`'s."""
        fact = self.get(name)
        absent = fact.value is None or fact.value in ((), [])
        text = _absence(fact.name) if absent else wording.write(fact.value, fact.unit, style)
        if any(fnmatchcase(fact.name, pattern) for pattern in _ARITHMETIC):
            text = wording.arithmetic(text)
        self.printed.append(Printed(fact, text))
        return text

    def origin(self, row: Ref) -> str:
        """Return how a row of results came about, and record that it was printed."""
        fact = self.get(row / "origin")
        text = ORIGINS[fact.value]
        if self.get(row / "size").value == FULL:
            text = FULL_ORIGINS[fact.value].format(self._harness(row))
            text += BOUND[self.is_bound(row)]
        self.printed.append(Printed(fact, text))
        return text

    def is_bound(self, row: Ref) -> bool:
        """Return whether the file of a result names the checkpoint that is bound to the package."""
        return self.has(row / "bound") and bool(self.get(row / "bound").value)

    def _harness(self, row: Ref) -> str:
        """Return the name and the version of what measured an imported row."""
        parts = [row / "harness" / name for name in ("name", "version")]
        return " ".join(str(self.get(part).value) for part in parts if self.has(part)) or "a file"

    def is_trained(self) -> bool:
        """Return whether a training run of the full model is bound to the package."""
        return bool(self.get("trained.status").value != NOT_TRAINED)

    def shipped(self, name: str) -> str:
        """Return the text of a file that metagen ships, such as one of a task."""
        return self._desk.source(name).decode()

    def device(self, name: str) -> Device | None:
        """Return the device that a driver calls by some name, as `NVIDIA H100 80GB HBM3`."""
        return devices.by_driver(self._desk, name)

    def results(self, size: str) -> list[dict[str, Any]]:
        """Return the scores of the proxy or of the full model, which no statement mixes."""
        rows = self.get("results").value
        return [row for row in rows if row["status"] == MEASURED and row["size"] == size]

    def score(self, ref: Ref) -> str:
        """Return a score of a row of results, with the row's digits, and record that."""
        fact = self.get(ref)
        row = Ref(ref[:2] if ref[0] == "results" else ref[:-1])
        text = scores.write(fact.value, self.entry(row))
        self.printed.append(Printed(fact, text))
        return text

    def is_best(self, ref: Ref) -> bool:
        """Return whether a score is the best one of its row of results."""
        return scores.is_best(self.get(ref).value, self.entry(Ref(ref[:2])))

    def label(self, ref: Ref) -> str:
        """Return the last part of an address, a key of the file, and record that it was printed."""
        fact = Fact(str(ref), ref[-1], "", source(ref), (address(ref),))
        self.printed.append(Printed(fact, ref[-1]))
        return ref[-1]

    def each(self, name: str | Ref, **where: Any) -> list[Ref]:
        """Return the addresses of a list's or a record's entries, only those that match `where`."""
        ref = Ref(name)
        entries = [ref / str(key) for key in self._names(ref)]
        return [r for r in entries if all(self.entry(r / k) == v for k, v in where.items())]

    def distinct(self, name: str | Ref, entry: str, **where: Any) -> list[Ref]:
        """Return the addresses of `each`, but only the first with each value of an entry."""
        first: dict[Any, Ref] = {}
        for ref in self.each(name, **where):
            first.setdefault(self.entry(ref / entry), ref)
        return list(first.values())

    def has(self, name: str | Ref) -> bool:
        """Return whether a fact exists and is not empty."""
        try:
            return self.get(name).value not in (None, (), [], {}, "")
        except MissingFact:
            return False

    def family(self) -> Family:
        """Return the package's family; the document then depends on the family's code."""
        self._read[address(Ref("arch.family"))] = None
        return families.of_package(self._desk)

    def edited(self, path: str) -> bool:
        """Return whether the user edited a file of the package."""
        return self._desk.edited(path)

    def _computed(self, ref: Ref) -> Fact:
        """Return a derived fact, with the entries that were read for it."""
        before, self._read = self._read, {}
        if ref[1] in _SAID:
            fact = _said(self, ref)
        else:
            fact = (_DERIVED.get(ref[1]) or _of_the_family(ref[1]))(self)
            fact = replace(fact, value=fact.value[int(ref[2])]) if ref[2:] else fact
        fact = replace(fact, name=str(ref), entries=fact.entries or tuple(self._read))
        self._read = before | self._read
        return fact

    def entry(self, ref: Ref) -> Any:
        """Return a key of the spec, or the entry of a file.

        Raises:
            MissingFact: It is not there.
        """
        self._read[address(ref)] = None
        if ref[0] == "spec":
            return self._declared(ref)
        try:
            return self._desk.entry(file(ref), *ref[1:])
        except LookupError:
            entry = ".".join(ref[1:])
            raise MissingFact(f"{file(ref)} has no entry `{entry}`") from None

    def _names(self, ref: Ref) -> Iterable[str]:
        """Return the keys or positions in an entry; a text of the spec counts as one entry."""
        if ref[0] in FILES:
            return self._desk.names(FILES[ref[0]], *ref[1:])
        value = self.get(ref).value
        return value if isinstance(value, dict) else map(str, range(len(value or ())))

    def _declared(self, ref: Ref) -> Any:
        end = next((at for at, part in enumerate(ref) if part.isdigit()), len(ref))
        value = self._desk.key(".".join(ref[1:end]))
        for part in ref[end:]:  # A source of data may be its name alone.
            named = value if isinstance(value, dict) else {"name": value}
            value = value[int(part)] if part.isdigit() else named.get(part)
        return value

    def _unit(self, ref: Ref) -> str:
        name = str(ref)
        if any(fnmatchcase(name, pattern) for pattern in _BESIDE):
            return str(self.entry(Ref((*ref[:2], "unit"))) or "")
        if name.startswith("trained.losses."):
            return self.family().words.loss_unit
        if fnmatchcase(name, "bench.cases.*.throughput"):
            return f"{self.entry(Ref((*ref[:3], 'unit')))}/s"
        for pattern, (counted, form) in _COUNTED.items():
            if fnmatchcase(name, pattern):
                return form.format(self.entry(Ref(counted)) or "units")
        return next((unit for pattern, unit in UNITS if fnmatchcase(name, pattern)), "")


def _absence(name: str) -> str:
    declared = any(fnmatchcase(name, pattern) for pattern in _NOT_DECLARED)
    computed = fnmatchcase(name, "constraints.*.computed")
    return "not declared" if declared else "not computed" if computed else "not measured"


def _count(verdict: str) -> Callable[[Facts], Fact]:
    name = verdict.replace(" ", "_")

    def count(facts: Facts) -> Fact:
        number = len(facts.each("constraints", verdict=verdict))
        unit = "constraint" if number == 1 else "constraints"
        return Fact(
            f"derived.{name}", number, unit, f"{FILES['constraints']}: entries with this verdict"
        )

    return count


def _limited(facts: Facts) -> Fact:
    """Return how many constraints are declared."""
    rows = facts.get("constraints").value
    number = sum(row["verdict"] not in ("figure", "not declared") for row in rows)
    unit = "limit" if number == 1 else "limits"
    return Fact("derived.limited", number, unit, f"{FILES['constraints']}: verdict")


def _said(facts: Facts, ref: Ref) -> Fact:
    """Return what is said of one entry of a list, such as `derived.limit.4` of constraints.json."""
    place, parts, words = _SAID[ref[1]]
    row = facts.get(Ref((*place.split("."), *ref[2:]))).value
    return Fact(str(ref), words(row), "", f"{file(Ref(place))}: {parts}")


def _of_the_family(name: str) -> Callable[[Facts], Fact]:
    """Return the function of a fact that is one of the family's `figures`."""

    def fact(facts: Facts) -> Fact:
        ref = Ref(("shape", name))
        value, unit = (facts.entry(ref / part) for part in ("value", "unit"))
        return Fact(f"derived.{name}", value, unit, source(ref), (address(ref / "value"),))

    return fact


def _computed(name: str, figure: Callable[[Facts], Figure]) -> Callable[[Facts], Fact]:
    """Return the function of a fact that a module of its own computes."""

    def fact(facts: Facts) -> Fact:
        return Fact(f"derived.{name}", *figure(facts))

    return fact


def _word(name: str) -> Callable[[Facts], Fact]:
    """Return the function of a fact that is one of the family's `Words`."""

    def fact(facts: Facts) -> Fact:
        value = getattr(facts.family().words, name)
        return Fact(f"derived.{name}", value, "", f"{FILES['arch']}: family")

    return fact


def _context(facts: Facts) -> Fact:
    """Return the context window, None for a family that reads no sequence of some length.

    The patches of a clip are a window that one pass always fills: no cost grows along it.
    """
    family, everything = design(facts)
    window = family.context(everything) if family.context_dim else None
    return Fact("derived.context", window, "tokens", f"{FILES['arch']}: model")


def _trained(facts: Facts) -> Fact:
    """Return the tokens of a training sequence where these are fewer than the context window."""
    window, seq_len = facts.get("derived.context").value, None
    if facts.has("arch.data.seq_len"):
        seq_len = facts.get("arch.data.seq_len").value
    fewer = seq_len if window and seq_len and seq_len < window else None
    return Fact("derived.trained", fewer, "tokens", f"{FILES['arch']}: data.seq_len")


def _final_validation_loss(facts: Facts) -> Fact:
    losses = [row["val_loss"] for row in facts.get("curve").value if row["val_loss"] is not None]
    source = f"{FILES['curve']}: last val_loss"
    unit = facts.family().words.loss_unit
    return Fact("derived.final_validation_loss", losses[-1] if losses else None, unit, source)


def _not_run(facts: Facts) -> Fact:
    rows = facts.get("results").value
    names = tuple(row["benchmark"] for row in rows if row["status"] == "not run")
    return Fact("derived.not_run", names, "", f"{FILES['results']}: entries that were not run")


def _judgement(facts: Facts) -> Fact:
    """Return what the results say of the baselines, in one sentence; "" without results."""
    text = scores.judgement(facts.results(PROXY))
    return Fact("derived.judgement", text, "", f"{FILES['results']}: outcomes")


def _unknown_components(facts: Facts) -> Fact:
    """Return the components of the spec with a type that the family lacks."""
    family = facts.family()
    declared = facts.get("spec.architecture.components").value or ()
    names = tuple(families.unknown_components(family, declared))
    return Fact("derived.unknown_components", names, "", f"{SPEC}: architecture.components")


def _unused(facts: Facts) -> Fact:
    """Return the declared keys without an effect, each with the reason."""
    decisions = facts.get("arch.decisions").value
    unused = [each for each in decisions if each["reason"].startswith(UNUSED)]
    sentences = tuple(f"{each['name']}: {each['reason'].removeprefix(UNUSED)}" for each in unused)
    return Fact("derived.unused", sentences, "", f"{FILES['arch']}: decisions")


def _edited(facts: Facts) -> Fact:
    names = tuple(path for path in SOURCES if facts.edited(path))
    return Fact("derived.edited", names, "", "manifest.json: edited")


_Said = tuple[str, str, Callable[[dict[str, Any]], str]]
_VERDICT, _STEP = "computed, limit, low, high, unit", "constraint, value, changes"
# What is said of an entry: of which list, of which parts of it, and the words.
_SAID: dict[str, _Said] = {
    "sentence": ("constraints", _VERDICT, statement.sentence),
    "limit": ("constraints", _VERDICT, statement.limit),
    "computed": ("constraints", _VERDICT, statement.computed),
    "step": ("sensitivity.steps", _STEP, statement.step),
    "changes": ("sensitivity.steps", _STEP, statement.changes),
}
_DERIVED: dict[str, Callable[[Facts], Fact]] = {
    "met": _count("met"),
    "violated": _count("violated"),
    "not_declared": _count("not declared"),
    "open": _count("open"),
    "bounded": _count("bounded"),
    "limited": _limited,
    "context": _context,
    "trained": _trained,
    "final_validation_loss": _final_validation_loss,
    "not_run": _not_run,
    "judgement": _judgement,
    **{name: _word(name) for name in _WORDS},
    "bibtex": _computed("bibtex", citation.bibtex),
    **{name: _computed(name, figure) for name, figure in training.FIGURES.items()},
    **{name: _computed(name, figure) for name, figure in numbered.FIGURES.items()},
    **{name: _computed(name, command) for name, command in commands.COMMANDS.items()},
    **{f"alt_{name}": _computed(f"alt_{name}", text) for name, text in content.TEXTS.items()},
    "unknown_components": _unknown_components,
    "unused": _unused,
    "edited": _edited,
}
