"""The files of `code/`: the family's model, its task's scripts, and the modules they need."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from metagen import families, files, paths
from metagen.families.family import Family
from metagen.package.bundle import Read, bundle
from metagen.package.imports import PACKAGE_FILES
from metagen.work import Desk, Recipe, Work

SECTIONS = ("model", "data", "train", "eval", "infer")
BENCH = "code/bench.py"
SCRIPTS = (*(f"code/{section}.py" for section in SECTIONS), BENCH)
REQUIREMENTS, LOCK = "code/requirements.txt", "code/requirements.lock"
# An import from runtime/, at the top of a file or inside a function.
RUNTIME_IMPORT = re.compile(r"^\s*from runtime\.(\w+) import", re.MULTILINE)
PROJECT = "pyproject.toml"
MUON_TORCH = "torch>=2.9"  # the first version with torch.optim.Muon
DISTRIBUTIONS = {
    "PIL": "pillow",
    "espeakng_loader": "espeakng-loader",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}
"""Names to install libraries by, if they differ from the names to import them by."""


def script(section: str) -> Work:
    """Return the work that makes a script with the settings of its section of the architecture."""

    def work(desk: Desk) -> dict[str, bytes]:
        family, values = families.of_package(desk), desk.entry(families.ARCHITECTURE, section)
        own = section == "model"
        template = family.model_template(values) if own else family.task.source(f"{section}.py")
        return {f"code/{section}.py": bundle(template, desk.source, values)}

    return work


def bench(desk: Desk) -> dict[str, bytes]:
    """Make code/bench.py, which has no settings of its own: it measures what infer.py does."""
    family = families.of_package(desk)
    return {BENCH: bundle(family.task.source("bench.py"), desk.source)}


def runtime_files(family: Family, read: Read | None = None) -> tuple[str, ...]:
    """Return the files of code/runtime/ that a family's scripts import, directly or not.

    The work of a task passes its desk's `source` as `read`, so that it depends on what it read.
    """
    sources = [family.task.source(f"{name}.py") for name in (*SECTIONS[1:], "bench")]
    scripts = (family.template, *sources)
    return (
        _shipped_runtime(scripts, paths.templates()) if read is None else _imported(scripts, read)
    )


@cache
def _shipped_runtime(scripts: tuple[str, ...], templates: Path) -> tuple[str, ...]:
    # The templates' folder is a key of the cache, so that another one is read anew.
    return _imported(scripts, lambda name: paths.source(name).read_bytes())


def _imported(scripts: Iterable[str], read: Read) -> tuple[str, ...]:
    waiting = [*scripts]
    modules = {"__init__"}
    while waiting:
        imported = set(RUNTIME_IMPORT.findall(read(waiting.pop()).decode()))
        waiting += [f"templates/runtime/{name}.py" for name in sorted(imported - modules)]
        modules |= imported
    return tuple(f"code/runtime/{module}.py" for module in sorted(modules))


def runtime(desk: Desk) -> dict[str, bytes]:
    """Make code/runtime/: the modules that the scripts share, copied from metagen's templates."""
    names = runtime_files(families.of_package(desk), desk.source)
    return {name: desk.source(paths.template(name)) for name in names}


def config(desk: Desk) -> dict[str, bytes]:
    """Make code/config.json: the proxy's settings; the full model's are in the scripts."""
    proxy = {s: desk.entry(families.ARCHITECTURE, "proxy", s) for s in SECTIONS}
    return {"code/config.json": files.json_bytes({"proxy": proxy})}


def requirements(desk: Desk) -> dict[str, bytes]:
    """Make code/requirements.txt: the oldest versions of the libraries that the scripts import."""
    scripts = (*SCRIPTS, *runtime_files(families.of_package(desk), desk.source))
    names = {name for path in scripts for name in libraries(desk.entry(path, "imports"))}
    known = lowest_versions(desk.source(PROJECT))
    if desk.entry(families.ARCHITECTURE, "train", "optimizer") == "muon":
        known["torch"] = MUON_TORCH
    lines = sorted(known.get(name, name) for name in (DISTRIBUTIONS.get(n, n) for n in names))
    return {REQUIREMENTS: "".join(f"{line}\n" for line in lines).encode()}


def lock(desk: Desk) -> dict[str, bytes]:
    """Make code/requirements.lock: the versions that the package was made and measured with."""
    lines = [f"# Python {desk.version('python')} and these versions made the package."]
    for requirement in desk.read(REQUIREMENTS).decode().split():
        name = requirement.partition(">=")[0]
        # A registry has no local labels, such as the +cpu of a build of torch.
        number = desk.version(name).partition("+")[0]
        lines.append(f"{name}=={number}" if number else f"# {name} was not installed.")
    return {LOCK: "".join(f"{line}\n" for line in lines).encode()}


def lowest_versions(project: bytes) -> dict[str, str]:
    """Return metagen's own requirements without upper bounds, such as `torch>=2.6`, by library.

    The generated code is tested with these. Upper bounds apply to metagen's own use of a library.
    """
    table = tomllib.loads(project.decode())["project"]
    groups = (table["dependencies"], *table["optional-dependencies"].values())
    lines = [line.partition(",")[0] for group in groups for line in group]
    return {line.partition(">=")[0]: line for line in lines}


def readme(desk: Desk) -> dict[str, bytes]:
    """Make code/README.md: how to run the scripts."""
    return {"code/README.md": desk.source(families.of_package(desk).task.source("README.md"))}


def libraries(modules: Iterable[str]) -> set[str]:
    """Return the third-party libraries among the modules that a script imports."""
    tops = {name.partition(".")[0] for name in modules}
    return tops - sys.stdlib_module_names - set(PACKAGE_FILES)


_DOCS = {
    "model": "write the network with the full model's dimensions",
    "data": "write the script that turns data into samples",
    "train": "write the training script",
    "eval": "write the script that scores a checkpoint on the test split",
    "infer": "write the script that uses a checkpoint",
}


def recipes(family: Family) -> tuple[Recipe, ...]:
    """Return the tasks that make `code/` for a family."""
    shared = runtime_files(family)
    plan = families.ARCHITECTURE
    return (
        *(Recipe(f"code:{s}", script(s), (plan,), (f"code/{s}.py",), _DOCS[s]) for s in SECTIONS),
        Recipe(
            "code:bench", bench, (plan,), (BENCH,), "write the script that measures a checkpoint"
        ),
        Recipe(
            "code:runtime", runtime, (plan,), shared, "write the modules that the scripts share"
        ),
        Recipe("code:config", config, (plan,), ("code/config.json",), "write the proxy's settings"),
        Recipe(
            "code:requirements",
            requirements,
            (plan, *SCRIPTS, *shared),
            (REQUIREMENTS,),
            "list the libraries that the scripts import",
        ),
        Recipe("code:lock", lock, (REQUIREMENTS,), (LOCK,), "list the versions of the libraries"),
        Recipe("code:readme", readme, (plan,), ("code/README.md",), "explain how to run the code"),
    )
