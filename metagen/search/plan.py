"""What a study is: the spec, the code and the settings that all of its workers share.

They lie in the folder of the study, so that a worker on another machine needs nothing else. The
name of a study is a digest of all that its trials depend on: after an edit of the spec, another
study begins in the same folder, and trials that both have in common are not run again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from metagen import files
from metagen.errors import Problem, SpecError, UsageError
from metagen.files import canonical, sha256
from metagen.search import objectives
from metagen.search.shapes import Shapes
from metagen.search.space import Candidate, Space
from metagen.sizing import explain, search
from metagen.spec import Spec, load
from metagen.trials import Trial, package_of
from metagen.trials.trial import CONFIG

PLAN, SPEC, CODE = "study.json", "spec.yaml", "code"
_MOST_BYTES = 2**20
_FORMAT = 1


@dataclass(frozen=True)
class Settings:
    """The settings of a study.

    Attributes:
        trials: Trainings, those that are ended early included.
        steps: Updates of a training with the package's own batch.
        seed: Draws the points, and is the seed of every trial.
        sampler: `tpe`, `nsga2` or `random`.
        objectives: What is minimized, the loss first.
        seeds: Trainings of each design in the comparison after the search.
    """

    trials: int
    steps: int
    seed: int
    sampler: str
    objectives: tuple[str, ...]
    seeds: int


@dataclass(frozen=True)
class Plan:
    """A study with its spec and its code.

    Attributes:
        folder: Where it lies.
        settings: Its settings.
        spec: The spec, with its defaults.
        package: The files of `code/`.
        database: Whether its trials lie in a database; else they do in the folder.
    """

    folder: Path
    settings: Settings
    spec: Spec
    package: Mapping[str, bytes]
    database: bool = False

    @cached_property
    def space(self) -> Space:
        """The choices.

        Raises:
            SpecError: The spec leaves nothing open, or its own design breaks its limits.
        """
        desk = explain.desk_over(self.spec)
        solution, proxy = search.solution(desk), json.loads(self.package[CONFIG])["proxy"]
        names = self.settings.objectives
        sized = any(name != objectives.HELD_OUT for name in names)
        space = Space(desk, Shapes(solution, proxy["model"]), proxy, sized)
        if not space.choices:
            hint = "leave out a pinned dimension or a setting of training.config"
            sentence = "The spec leaves nothing open that a search could choose."
            raise SpecError(Problem(sentence, str(self.spec.path), hint))
        if isinstance(space.candidate(space.plain), str):
            sentence = "The spec's own design breaks its budget or its limits."
            hint = "read what limits it: metagen explain SPEC"
            raise SpecError(Problem(sentence, str(self.spec.path), hint))
        return space

    @cached_property
    def figures(self) -> dict[str, objectives.Figure]:
        """How each objective but the loss is computed from a full design."""
        space = self.space
        return objectives.figures(space.desk, space.shapes.family, self.settings.objectives)

    @cached_property
    def name(self) -> str:
        """The digest of all that the trials of the study depend on, but their number."""
        same = replace(self.settings, trials=0, seeds=0)
        code = {name: sha256(data) for name, data in self.package.items()}
        choices = [asdict(choice) for choice in self.space.choices]
        base = self.space.shapes.solution.design.everything
        known = [_FORMAT, asdict(same), code, choices, base]
        return sha256(canonical(known).encode())[:16]

    def trial(
        self, candidate: Candidate, seed: int | None = None
    ) -> tuple[dict[str, bytes], Trial]:
        """Return the code and the trial of a candidate, with a seed of its own if one is given."""
        settings, proxy = self.settings, self.space.proxy
        steps = max(1, round(settings.steps * candidate.samples))
        package = dict(self.package)
        if candidate.model is not None:
            package["code/model.py"] = candidate.model
        train = {**proxy["train"], **candidate.train}
        # A warm-up is a share of the training, which may be shorter than the package's own.
        warmup = round(train["warmup_steps"] * settings.steps / proxy["train"]["steps"])
        train["warmup_steps"] = min(warmup, steps // 2)
        config = {**proxy, "model": candidate.small.dims, "train": train}
        return package, Trial(config, steps, settings.seed if seed is None else seed)

    def save(self) -> None:
        """Write the folder of the study; what belongs to the plan replaces what lay there.

        Raises:
            UsageError: Something is in the way, or the study was begun in another storage.
        """
        begun = _noted(self.folder)
        if begun.get("name") == self.name:
            check_place(self.folder, begun=begun.get("database") is True, asked=self.database)
        scratch = self.folder / "tmp"
        tree = {key: self.spec.key(key) for key in self.spec.keys()}  # noqa: SIM118
        contents = {
            SPEC: files.yaml_bytes(_nested(tree)),
            PLAN: files.json_bytes(self._content()),
            **self.package,
        }
        for name, data in contents.items():
            if blocked := files.obstacle(self.folder, name):
                sentence = f"This is {files.kind(Path(blocked).lstat().st_mode)}, in the way."
                raise UsageError(Problem(sentence, blocked, "remove it, or name another --out"))
            files.write_atomic(self.folder / name, data, scratch)
        for stale in _code_in(self.folder) - self.package.keys():
            (self.folder / stale).unlink()

    def _content(self) -> dict[str, Any]:
        # The URL of a database may have a password, so it is not kept.
        return {"name": self.name, "database": self.database, **asdict(self.settings)}


def _code_in(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in (folder / CODE).rglob("*.py")}


def _nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in leaves.items():
        *parents, leaf = name.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = value
    return tree


def check_place(folder: Path, *, begun: bool, asked: bool) -> None:
    """Check that a study is asked for where it was begun: in a database, or in its folder.

    Raises:
        UsageError: It is not, so that its trials would be run anew under the same name.
    """
    if begun != asked:
        place = "a database" if begun else "its folder"
        hint = "give the --storage with which it was begun" if begun else "leave --storage out"
        raise UsageError(Problem(f"The trials of this study lie in {place}.", str(folder), hint))


def _noted(folder: Path) -> dict[str, Any]:
    """Return what the folder says of its study; {} if it says nothing."""
    try:
        content = json.loads(files.read_plain(folder / PLAN, _MOST_BYTES))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read(folder: Path) -> Plan:
    """Return the plan in the folder of a study.

    Raises:
        UsageError: The folder holds no study, or one that this version reads in another way.
    """
    content = _noted(folder)
    try:
        name, database = content.pop("name"), content.pop("database")
        settings = Settings(**{**content, "objectives": tuple(content["objectives"])})
    except (TypeError, LookupError):
        hint = "name a folder OUT/search-NAME that `metagen search SPEC` has made"
        raise UsageError(Problem("This folder holds no study.", str(folder), hint)) from None
    plan = Plan(folder, settings, load(folder / SPEC), package_of(folder), database)
    try:
        is_same = plan.name == name
    except (ValueError, TypeError, LookupError):  # Its code/config.json was edited.
        is_same = False
    if not is_same:
        sentence = "This worker would run other trials than those of the study."
        hint = "use the version of metagen that began it, or begin it again with `metagen search`"
        raise UsageError(Problem(sentence, str(folder), hint))
    return plan
