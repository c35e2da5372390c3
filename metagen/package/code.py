"""The files of `code/`: the family's model, its task's scripts, and what they need to run."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from metagen import families, files
from metagen.families.family import Family
from metagen.package.bundle import bundle
from metagen.package.imports import PACKAGE_FILES
from metagen.work import Desk, Recipe, Work

SECTIONS = ("model", "data", "train", "eval", "infer")
SCRIPTS = tuple(f"code/{section}.py" for section in SECTIONS)
# What the scripts of every task share; a family names what its own need beyond it.
CORE = (
    "__init__",
    "checkpoint",
    "device",
    "distributed",
    "errors",
    "flops",
    "loop",
    "metrics",
    "optimization",
    "options",
    "order",
    "report",
    "scripts",
    "settings",
    "speedup",
    "training",
)
# The lowest versions that the generated code is written for; those of metagen itself.
REQUIREMENTS = {
    "PIL": "pillow>=10",
    "django": "django>=5.0",
    "matplotlib": "matplotlib>=3.9",
    "nilearn": "nilearn>=0.11",
    "numpy": "numpy>=1.26",
    "pyarrow": "pyarrow>=16",
    "river": "river>=0.21",
    "safetensors": "safetensors>=0.4.5",
    "sklearn": "scikit-learn>=1.4",
    "statsmodels": "statsmodels>=0.14",
    "tokenizers": "tokenizers>=0.20",
    "torch": "torch>=2.6",
    "tqdm": "tqdm>=4.66",
}


def script(section: str) -> Work:
    """Return the work that makes one script, set to its section of the architecture."""

    def work(desk: Desk) -> dict[str, bytes]:
        family, values = families.built(desk), desk.entry(families.ARCHITECTURE, section)
        scripts = f"{family.task_folder}/{section}.py"
        template = family.model_template(values) if section == "model" else scripts
        return {f"code/{section}.py": bundle(template, desk.source, values)}

    return work


def runtime_files(family: Family) -> tuple[str, ...]:
    """Return the files of code/runtime/ for a family."""
    return tuple(f"code/runtime/{module}.py" for module in sorted((*CORE, *family.runtime)))


def runtime(desk: Desk) -> dict[str, bytes]:
    """Make code/runtime/: what the scripts share, as it stands in metagen's templates."""
    paths = runtime_files(families.built(desk))
    return {path: desk.source(path.replace("code/", "templates/", 1)) for path in paths}


def config(desk: Desk) -> dict[str, bytes]:
    """Make code/config.json: every section of the proxy; the full model's are in the scripts."""
    proxy = {s: desk.entry(families.ARCHITECTURE, "proxy", s) for s in SECTIONS}
    return {"code/config.json": files.json_bytes({"proxy": proxy})}


def requirements(desk: Desk) -> dict[str, bytes]:
    """Make code/requirements.txt: the libraries that the scripts import."""
    paths = (*SCRIPTS, *runtime_files(families.built(desk)))
    found = {name for path in paths for name in libraries(desk.entry(path, "imports"))}
    lines = sorted(REQUIREMENTS.get(name, name) for name in found)
    return {"code/requirements.txt": "".join(f"{line}\n" for line in lines).encode()}


def readme(desk: Desk) -> dict[str, bytes]:
    """Make code/README.md: how to run the scripts."""
    return {"code/README.md": desk.source(f"{families.built(desk).task_folder}/README.md")}


def libraries(modules: Iterable[str]) -> set[str]:
    """Return the third-party libraries among the modules that a script imports."""
    tops = {name.partition(".")[0] for name in modules}
    return tops - sys.stdlib_module_names - set(PACKAGE_FILES)


_DOCS = {
    "model": "write the network, set to the full model's dimensions",
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
        Recipe("code:runtime", runtime, (plan,), shared, "write what the scripts share"),
        Recipe("code:config", config, (plan,), ("code/config.json",), "write the proxy's settings"),
        Recipe(
            "code:requirements",
            requirements,
            (plan, *SCRIPTS, *shared),
            ("code/requirements.txt",),
            "list the libraries that the scripts import",
        ),
        Recipe("code:readme", readme, (plan,), ("code/README.md",), "say how to run the code"),
    )
