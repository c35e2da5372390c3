"""The model as its records describe it: facts of the package, as values for files of data.

A record holds a value only if a file of the package or the spec does. What nobody declared is
absent from it: its schema, and not a placeholder, then says that something is missing.
"""

from __future__ import annotations

import csv
import io
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from metagen import files
from metagen.docs import provenance
from metagen.docs.fact import Fact, Printed, Ref
from metagen.docs.facts import Facts
from metagen.docs.sources import inputs
from metagen.measure.results import FULL, PARTIAL, PROXY
from metagen.sizing.training import CARBON, ENERGY
from metagen.units import JOULES_PER_KWH
from metagen.work import Desk, Recipe, Work

_LICENSES = "data/licenses.csv"
TRAINED = ("trained",)
MODEL = ("arch", "constraints", "results", "lock", "uses", *TRAINED)


@dataclass(frozen=True)
class Energy:
    """The energy of the full model's training.

    Attributes:
        kwh: Kilowatt-hours.
        method: How they were obtained.
        carbon: Kilograms of CO2 equivalent; None where they were not computed.
    """

    kwh: float
    method: str
    carbon: float | None


class Subject(Facts):
    """The facts of a package as values; each value that a record states counts as printed."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._shipped = desk.source

    def value(self, name: str | Ref) -> Any:
        """Return a fact's value, None where it is absent, and record that it was stated."""
        if not self.has(name):
            return None
        fact = self.get(name)
        return self.stated(fact)

    def stated(self, fact: Fact) -> Any:
        """Record that a fact was stated, and return its value."""
        text = fact.value if isinstance(fact.value, str) else json.dumps(fact.value)
        self.printed.append(Printed(fact, text))
        return fact.value

    @property
    def name(self) -> str:
        return str(self.value("spec.name"))

    @cached_property
    def license(self) -> str | None:
        """The licence as SPDX spells it; one that SPDX does not list begins with `LicenseRef-`."""
        declared = self.value("spec.license")
        if declared is None:
            return None
        rows = csv.DictReader(io.StringIO(self._shipped(_LICENSES).decode()))
        spelled = {row["license"]: row["spdx"] for row in rows}
        return spelled.get(declared) or f"LicenseRef-{declared.replace('++', '-plus')}"

    @property
    def kind(self) -> str:
        """What one such model is, with no article."""
        return str(self.value("derived.kind"))

    @property
    def digest(self) -> str | None:
        """The digest of the trained weights; None where no trained model is bound."""
        return self.value("trained.checkpoint.sha256")  # type: ignore[no-any-return]

    @property
    def purl(self) -> str:
        """The package URL: that of the Hub where the repository is there, else a generic one."""
        from urllib.parse import quote, urlsplit

        name, version = quote(self.name, safe=""), self.value("spec.version")
        address = urlsplit(self.value("spec.release.repository") or "")
        path = [quote(part, safe="") for part in address.path.split("/") if part]
        hub = address.hostname == "huggingface.co" and len(path) == 2  # organisation and name
        base = f"pkg:huggingface/{'/'.join(path)}" if hub else f"pkg:generic/{name}"
        return base + (f"@{quote(str(version), safe='')}" if version else "")

    def sources(self) -> list[dict[str, Any]]:
        """Return what is declared of each source of training data; each has a name."""
        found = []
        for ref in self.each("spec.training.data.sources"):
            declared = self.get(ref).value
            parts = declared if isinstance(declared, dict) else {}
            found.append({part: self.value(ref / part) for part in parts} or {"name": declared})
        return found

    def datasets(self) -> list[dict[str, Any]]:
        """Return the data sets of the results, each with its digest, split and count."""
        refs = self.distinct("results", "dataset", status="measured")
        fields = ("dataset", "sha256", "split", "n", "n_unit", "size")
        stated = [{field: self.value(ref / field) for field in fields} for ref in refs]
        commands = [{"command": self.entry(ref / "command")} for ref in refs]
        return [known(row | more) for row, more in zip(stated, commands, strict=True)]

    def sheets(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the data sheets of what a result was measured on, whose name may join two.

        What a person gave by `--data` has none, whatever its name.
        """
        if "--data" in (row.get("command") or "--data").split():
            return []
        names = row["dataset"].split(" and ")
        refs = [ref for ref in self.each("sheets") if self.entry(ref / "name") in names]
        fields = (
            *("instance", "origin", "authors", "license", "license_note", "url", "language"),
            "people",
        )
        return [known({field: self.value(ref / field) for field in fields}) for ref in refs]

    def libraries(self) -> dict[str, str]:
        """Return the version of each library that made the package, without Python's."""
        names = [ref for ref in self.each("lock") if ref[-1] != "python"]
        return {ref[-1]: str(self.value(ref)) for ref in names}

    def scores(self) -> list[tuple[Ref, dict[str, Any]]]:
        """Return the address and the row of each score, the full model's before the proxy's."""
        refs = self.each("results", status="measured")
        rows = [(ref, self.entry(ref)) for ref in refs]
        return [pair for size in (FULL, PROXY) for pair in rows if pair[1]["size"] == size]

    def hyperparameters(self) -> dict[str, str]:
        """Return the dimensions and the training settings of the full model, as text."""
        refs = [ref for part in ("model", "train") for ref in self.each(f"arch.{part}")]
        values = {".".join(ref[1:]): self.value(ref) for ref in refs}
        return {name: _text(value) for name, value in values.items() if value is not None}

    def estimate(self, name: str) -> float | None:
        """Return the computed figure of an entry of constraints.json; None where there is none."""
        refs = self.each("constraints", constraint=name)
        return self.value(refs[0] / "computed") if refs else None

    def energy(self) -> Energy | None:
        """Return the energy of the training, as measured or else as estimated; None for neither."""
        joules = self.value("trained.energy.joules")
        if joules is not None:
            source = self.value("trained.energy.source")
            grams = self.value("derived.emitted")
            carbon = None if grams is None else grams / 1000
            return Energy(joules / JOULES_PER_KWH, f"measured by {source}", carbon)
        spent = self.estimate(ENERGY)
        return None if spent is None else Energy(spent, "estimated", self.estimate(CARBON))

    def limitations(self) -> list[str]:
        """Return what is known to limit the model: unmet constraints, and what was not measured."""
        unmet = [
            f"The declared limit is not met: {self.value(ref / 'constraint')}."
            for ref in self.each("constraints", verdict="violated")
        ]
        if not self.each("results", status="measured", size=FULL):
            unmet.append("The full model has no measured score.")
        if self.digest is None:
            unmet.append("No training run of the full model belongs to this package.")
        if self.value("trained.status") == PARTIAL:
            unmet.append("The training ended before its planned steps.")
        known_of = [*self.each("uses.risks"), *self.each("uses.failures")]
        failures = [f"{self.value(ref / 'says')}." for ref in known_of]
        return [*unmet, f"Not measured: {self.value('derived.risks')}.", *failures]

    def training(self) -> str:
        """Return how the full model is trained, in a sentence."""
        objective = ", ".join(self.value("spec.training.objective") or ())
        steps, size = self.value("arch.train.steps"), self.value("spec.training.data.size")
        parts = [
            f"Objective: {objective}" if objective else "",
            f"{steps} steps of {self.value('arch.train.batch_size')} samples" if steps else "",
            f"on {size}" if size else "",
        ]
        return "; ".join(part for part in parts if part) + "."


def known(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping without its empty entries; false and zero are values."""
    return {name: value for name, value in entries.items() if value not in (None, "", [], {}, ())}


def written(path: str, subject: Subject, content: Any) -> dict[str, bytes]:
    """Return the files of a record: its content as JSON, and where its numbers come from."""
    return provenance.written(path, files.json_bytes(content), subject.printed)


def identifier(content: Any) -> str:
    """Return the UUID of a document's content: equal content has an equal identifier."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"metagen:{files.sha256(_canonical(content))}"))


def _canonical(content: Any) -> bytes:
    return files.canonical(content).encode()


def moment(day: str | None) -> str | None:
    """Return the first moment of a day, as these formats write it."""
    return f"{day}T00:00:00Z" if day else None


def recipe(work: Work, path: str, doc: str, names: Iterable[str], *more: str) -> Recipe:
    """Return the recipe of a record.

    Args:
        work: A plain function.
        path: The record's path in the package.
        doc: One line for `doit list`.
        names: The files that its facts come from, as `docs.sources` calls them.
        more: Paths of further files that it reads.
    """
    stem = path.rpartition("/")[2].partition(".")[0]
    reads = tuple(dict.fromkeys((*inputs(*names), *more)))
    return Recipe(f"docs:{stem}", work, reads, provenance.targets(path), doc)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
