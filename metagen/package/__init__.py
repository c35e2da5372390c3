"""Real Python to a folder that runs without metagen.

The code in `templates/` is ordinary Python that ruff, mypy and pytest read as it stands. This room
turns a file of it into a file of a package: `modules` reads it, `config` writes out its `Config`,
`imports` merges its imports, `bundle` copies in the layers that it needs, and `code`
names the files of `code/`, of which `runtime/` is copied as it stands. `launch` sets the scripts
that start it on many devices.
"""

from metagen.families.family import Family
from metagen.package import code, launch
from metagen.work import Recipe


def recipes(family: Family) -> tuple[Recipe, ...]:
    """Return the tasks that make `code/` for a family."""
    return (*code.recipes(family), *launch.RECIPES)
