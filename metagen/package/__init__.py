"""From template code to a package's `code/`, a folder that runs without metagen.

The code in `templates/` is ordinary Python, which ruff, mypy and pytest check directly. These
modules turn its files into those of a package: `modules` parses a file, `config` writes out its
`Config`, `imports` merges its imports, `bundle` copies in the layers that it needs, and `code`
names the files of `code/`; `runtime/` is copied unchanged. `launch` configures the scripts that
start training on many devices.
"""

from metagen.families.family import Family
from metagen.package import code, launch
from metagen.work import Recipe


def recipes(family: Family) -> tuple[Recipe, ...]:
    """Return the tasks that make `code/` for a family."""
    return (*code.recipes(family), *launch.RECIPES)
