"""The generated code of one family at sizes that a test chooses, and its modules."""

from __future__ import annotations

import importlib
import json
import sys
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from click.testing import CliRunner
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from helpers.generated import forget
from helpers.plain_desk import PlainDesk
from metagen import families, paths
from metagen.cli import main
from metagen.families.family import Family
from metagen.package import code
from metagen.package.bundle import bundle
from metagen.package.code import runtime_files
from metagen.sizing import architecture
from metagen.spec import load

TRAIN = {
    "steps": 4,
    "batch_size": 4,
    "grad_accum": 1,
    "optimizer": "adamw",
    "learning_rate": 0.003,
    "warmup_steps": 1,
    "final_lr_share": 0.1,
    "weight_decay": 0.1,
    "beta1": 0.9,
    "beta2": 0.95,
    "grad_clip": 1.0,
    "eval_every": 2,
    "eval_batches": 1,
    "save_every": 100,
    "dtype": "float32",
    "seed": 42,
}


@cache
def spec_paths() -> dict[str, Path]:
    """Return a spec of each family that metagen ships, by the family's name."""
    shipped = sorted(paths.specs().rglob("*.yaml"))
    return {families.route(load(path).key): path for path in shipped}


def published(family: Family) -> bytes:
    """Return the table of published models that a family's trend is fitted on."""
    return paths.source(family.published).read_bytes()


def write_code(folder: Path, family: Family, sizes: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write code/ of a family with these settings at both sizes and return the folder."""
    for name, values in sizes.items():
        scripts = family.task.source(f"{name}.py")
        template = family.model_template(values) if name == "model" else scripts
        text = bundle(template, lambda n: paths.source(n).read_bytes(), values)
        (folder / f"{name}.py").write_bytes(text)
    bench = bundle(family.task.source("bench.py"), lambda n: paths.source(n).read_bytes())
    (folder / "bench.py").write_bytes(bench)
    (folder / "runtime").mkdir()
    for path in runtime_files(family):
        source = paths.source(paths.template(path)).read_bytes()
        (folder / "runtime" / Path(path).name).write_bytes(source)
    (folder / "config.json").write_text(json.dumps({"proxy": sizes}))
    return folder


def write_proxy(desk: PlainDesk, root: Path) -> Path:
    """Write code/ as a spec's build does, without what is measured on it; return the folder."""
    desk.package |= architecture.work(desk)
    family = families.of_package(desk)
    for recipe in code.recipes(family):
        desk.package |= recipe.work(desk)
    for name, data in desk.package.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root / "code"


@contextmanager
def modules_of(folder: Path) -> Iterator[dict[str, ModuleType]]:
    """Import a folder's six files and the counter of FLOPs by name, and forget them afterwards."""
    before = forget()
    sys.path.insert(0, str(folder))
    try:
        names = ("model", "data", "train", "eval", "infer", "bench", "runtime.flops")
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(folder))
        forget()
        sys.modules.update(before)


class Held(TorchDispatchMode):
    """Counts the bytes of tensors that live at once, but for some; `most` is the largest sum."""

    def __init__(self, weights: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.most = self.now = 0
        self.seen = {weight.untyped_storage()._cdata for weight in weights}

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        result = function(*arguments, **(options or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata not in self.seen:
            self.seen.add(storage._cdata)
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.now -= size


def beats_its_baselines(spec: Path, out: Path, *settings: str, only: str = "") -> None:
    """Build a package, and check that the proxy beats its baselines, or the named one only."""
    line = ["synth", str(spec), "--out", str(out), *settings]
    done = CliRunner().invoke(main, line)
    assert done.exit_code == 0, done.output
    results = json.loads(next(out.glob("run-*/benchmarks/results.json")).read_text())
    measured = [row for row in results if row["status"] == "measured"]
    assert len(measured) >= 2
    for row in measured:
        sign = 1 if row["higher_is_better"] else -1
        for name, value in row["baselines"].items():
            if only in (name, ""):
                assert sign * row["value"] > sign * value, (row["metric"], name)
