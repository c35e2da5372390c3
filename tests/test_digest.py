"""Digests of metagen's code: of all that a definition reaches, and of nothing that went before."""

from __future__ import annotations

from pathlib import Path

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
