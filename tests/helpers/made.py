"""A family with what the build of a spec makes for it, for the contract of all families."""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from helpers.family_code import modules_of, spec_paths, write_proxy
from helpers.generated import forget
from helpers.plain_desk import PlainDesk
from metagen import families
from metagen.families.family import Dims, Family


@dataclass(frozen=True)
class Made:
    """A family with what a spec's build makes for it, measurements aside."""

    family: Family
    desk: PlainDesk
    folder: Path
    code: dict[str, ModuleType]
    networks: dict[str, Any] = field(default_factory=dict)

    def sections(self, size: str) -> dict[str, Any]:
        """Return the dimensions and settings of the full model or of the proxy."""
        whole: dict[str, Any] = self.desk.entry("blueprint/architecture.yaml")
        return whole["proxy"] if size == "proxy" else whole

    def settings(self) -> tuple[Any, Any]:
        """Return the settings of the data and of the model at the proxy's size."""
        sections = self.sections("proxy")
        data = self.code["data"].Config(**sections["data"])
        return data, self.code["model"].Config(**sections["model"])

    def dims(self, size: str) -> dict[str, Any]:
        """Return the dimensions and number formats of one size."""
        sections = self.sections(size)
        return {**sections["model"], **{name: sections["infer"][name] for name in self.formats}}

    @property
    def formats(self) -> Iterable[str]:
        """The names of the number formats, which the settings of infer.py hold."""
        return self.family.formats

    def model(self, dims: Dims) -> Any:
        """Return the network with some dimensions, in the mode that infers."""
        fields = {name: value for name, value in dims.items() if name not in self.formats}
        return self.code["model"].Model(self.code["model"].Config(**fields)).eval()

    def network(self, dims: Dims) -> Any:
        """Return the network without its numbers, built once."""
        key = json.dumps(dims)
        if key not in self.networks:
            with torch.device("meta"):
                self.networks[key] = self.model(dims)
        return self.networks[key]

    def inputs(self, dims: Dims) -> list[torch.Tensor]:
        """Return zeros as the first pass takes them: a whole context, or one sample."""
        length = 1 if self.family.context_dim is None else self.family.input_length(dims)
        shapes = self.family.example(dims, length)
        return [torch.zeros(each["shape"], dtype=getattr(torch, each["dtype"])) for each in shapes]


@contextlib.contextmanager
def making(name: str, root: Path) -> Iterator[Made]:
    desk = PlainDesk.of(spec_paths()[name])
    folder = write_proxy(desk, root)
    with modules_of(folder) as code:
        yield Made(families.named(name), desk, folder, code)


def run(folder: Path, name: str, *arguments: object, status: int = 0) -> str:
    """Run a script as its own program would be, in this process; return what it printed."""
    out, before, line = io.StringIO(), forget(), [f"{name}.py", *map(str, arguments)]
    ended = contextlib.nullcontext() if status == 0 else pytest.raises(SystemExit)
    with imports_from(folder, line), contextlib.redirect_stdout(out), ended as caught:
        runpy.run_path(str(folder / f"{name}.py"), run_name="__main__")
    sys.modules.update(before)
    assert caught is None or caught.value.code == status
    return out.getvalue()


@contextlib.contextmanager
def imports_from(folder: Path, line: list[str]) -> Iterator[None]:
    before = sys.argv
    sys.argv = line
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.argv = before
        sys.path.remove(str(folder))
        forget()
