"""Digests of metagen's code: of all that a definition reaches, and of nothing that went before."""

from __future__ import annotations

from pathlib import Path

import pytest

from metagen.engine.digest import CodeIndex

SOURCES = {
    "__init__.py": "",
    "table.py": "PARTS = {'a': 'made.a', 'b': 'made.b'}\n",
    "a.py": "from made.deep import helper\n\ndef first():\n    return helper()\n",
    "b.py": "def second():\n    return 2\n",
    "deep.py": "def helper():\n    return 1\n",
    "page.py": "from made import table\n\ndef page(name):\n    return table.PARTS[name]\n",
}


def index(folder: Path, **changed: str) -> CodeIndex:
    package = folder / "made"
    package.mkdir(exist_ok=True)
    for name, text in (SOURCES | {f"{k}.py": v for k, v in changed.items()}).items():
        (package / name).write_text(text)
    return CodeIndex.of_package(package)


def test_what_was_asked_before_does_not_change_a_digest(tmp_path: Path) -> None:
    fresh = index(tmp_path).digest("made.page:page")
    asked = index(tmp_path)
    for module in ("made.a", "made.b", "made.deep", "made.a"):
        asked.digest(module)
    assert asked.digest("made.page:page") == fresh


def test_a_change_behind_a_module_that_is_named_by_a_string_counts(tmp_path: Path) -> None:
    before = index(tmp_path)
    after = index(tmp_path, deep="def helper():\n    return 3\n")
    assert after.digest("made.page:page") != before.digest("made.page:page")
    assert after.digest("made.b") == before.digest("made.b")


def test_the_digest_of_what_is_gone_is_none(tmp_path: Path) -> None:
    assert index(tmp_path).digest("made.a:third") is None
    assert index(tmp_path).digest("made.c") is None


# A family as metagen writes them: an instance of a class, whose base class and parts are in other
# modules, and which holds an instance of a task's class.
FAMILY = {
    "__init__.py": "",
    "base.py": (
        "class Family:\n    def count(self, m):\n        return sum(self.parts(m))\n\n"
        "    def fields(self):\n        return self.task.fields()\n\n\n"
        "class Other:\n    def count(self, m):\n        return 0\n"
    ),
    "parts.py": (
        "def linear(inputs, outputs):\n    return inputs * outputs\n\n\n"
        "def unrelated():\n    return 1\n"
    ),
    "task.py": (
        "from made.schedule import Schedule\n\n\n"
        "class Task:\n    schedule = Schedule(10)\n\n"
        "    def fields(self):\n        return self.schedule.steps()\n\n\n"
        "TASK = Task()\n"
    ),
    "schedule.py": (
        "class Schedule:\n    def __init__(self, n):\n        self.n = n\n\n"
        "    def steps(self):\n        return 2 * self.n\n"
    ),
    "vit.py": (
        "from made.base import Family\nfrom made.parts import linear\n"
        "from made.task import TASK\n\n\n"
        "class ViT(Family):\n    task = TASK\n\n"
        "    def parts(self, m):\n        return [linear(m, m)]\n\n\n"
        "FAMILY = ViT()\n"
    ),
}


def family_digest(folder: Path, file: str = "", old: str = "", new: str = "") -> str | None:
    """Return the digest of the family's module after an edit of one file."""
    package = folder / "made"
    package.mkdir(exist_ok=True)
    for name, text in FAMILY.items():
        edited = text.replace(old, new) if name == file else text
        assert name != file or edited != text
        (package / name).write_text(edited)
    return CodeIndex.of_package(package).digest("made.vit")


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("vit.py", "linear(m, m)", "linear(m, 2 * m)"),
        ("base.py", "sum(self.parts(m))", "max(self.parts(m))"),
        ("base.py", "self.task.fields()", "()"),
        ("parts.py", "inputs * outputs", "inputs + outputs"),
        ("task.py", "self.schedule.steps()", "0"),
        ("task.py", "Schedule(10)", "Schedule(20)"),
        ("schedule.py", "2 * self.n", "3 * self.n"),
    ],
    ids=["own method", "inherited", "forwarding", "part", "task", "setting", "held by the task"],
)
def test_a_familys_digest_follows_its_base_its_task_and_its_parts(
    tmp_path: Path, file: str, old: str, new: str
) -> None:
    assert family_digest(tmp_path, file, old, new) != family_digest(tmp_path)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("base.py", "        return sum", "        # Why.\n        return sum"),
        ("base.py", "class Family:\n", 'class Family:\n    """What it is."""\n\n'),
        ("task.py", "    def fields(self):\n", '    def fields(self):\n        """What."""\n'),
        ("schedule.py", "2 * self.n", "(2 *\n                self.n)"),
        ("base.py", "return 0", "return 9"),
        ("parts.py", "return 1", "return 9"),
    ],
    ids=["comment", "docstring", "method's docstring", "format", "another class", "another part"],
)
def test_a_familys_digest_ignores_comments_and_what_it_does_not_use(
    tmp_path: Path, file: str, old: str, new: str
) -> None:
    assert family_digest(tmp_path, file, old, new) == family_digest(tmp_path)


@pytest.mark.parametrize(
    "patch",
    [
        "import made.deep\nmade.deep.helper = lambda: 3\n",
        "from made import deep\ndeep.helper = lambda: 3\n",
        "from made import deep as d\nsetattr(d, 'helper', lambda: 3)\n",
        "from made import deep\ndel deep.helper\n",
        "from made import deep\n\n\ndef patch():\n    deep.helper = lambda: 3\n\n\npatch()\n",
        "from made.deep import helper\nhelper.table['a'] = 3\n",
    ],
)
def test_a_patch_from_another_module_counts(patch: str, tmp_path: Path) -> None:
    before = index(tmp_path, cli="")
    after = index(tmp_path, cli=patch)
    assert after.digest("made.a:first") != before.digest("made.a:first")
    assert after.digest("made.b:second") == before.digest("made.b:second")
    other = index(tmp_path, cli=patch.replace("3", "4") if "3" in patch else f"{patch}x = 1\n")
    if "3" in patch:
        assert other.digest("made.a:first") != after.digest("made.a:first")
