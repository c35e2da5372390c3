"""What `metagen verify` says of a package from a stranger; the clean build is a copy of it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner
from helpers.toy import UPPER, Out, clean_build, row, write_package

from metagen import paths
from metagen.cli import main
from metagen.engine import verify
from metagen.engine.binding import NOTHING
from metagen.engine.graph import of_spec
from metagen.errors import TaskError, UsageError
from metagen.spec import load
from metagen.work import Desk, Recipe

Attack = Callable[[Path, Path], object]


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Path]:
    """A package in a folder of any name, and a clean build that is equal to it."""
    package = write_package(tmp_path / "My package")
    with clean_build(shutil.copytree(package, tmp_path / "clean")):
        yield package


def findings(package: Path) -> list[str]:
    return list(verify.verify(package, vary=False, binding=NOTHING, unbuilt=[]))


def test_a_package_of_any_name_is_accepted_and_says_what_its_scripts_run(package: Path) -> None:
    assert findings(package) == []
    told = CliRunner().invoke(main, ["verify", str(package)])
    assert told.exit_code == 0
    assert told.output.splitlines()[0].endswith("and there are no others")
    assert (
        "python code/train.py runs code/data.py, code/model.py, code/train.py, "
        "2 files of code/runtime/ and the libraries it imports\n"
    ) in told.output
    assert "python code/model.py runs" not in told.output


def pipe(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def bound(path: Path) -> None:
    # The path of a socket may have 107 bytes only.
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def written(path: Path, data: bytes = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


ATTACKS: dict[str, tuple[Attack, str]] = {
    "byte code": (
        lambda p, _: written(p / "code/__pycache__/model.cpython-311.pyc"),
        "code/__pycache__: byte code, 1 file, not checked: Python may run it in place of "
        "code/model.py; remove this folder before you run any of them",
    ),
    "byte code of a task": (
        lambda p, _: written(p / "code/runtime/__pycache__/loop.pyc"),
        "in place of code/runtime/loop.py",
    ),
    "a linked folder": (
        lambda p, other: (p / "code/safetensors").symlink_to(other),
        "code/safetensors: a link; a package holds only files and folders; Python runs it where a "
        "script or a library imports 'safetensors'",
    ),
    "a linked file": (
        lambda p, _: [(p / "README.md").unlink(),
                      (p / "README.md").symlink_to("/etc/passwd")],
        "README.md: a link;",
    ),
    "a link to nothing": (lambda p, _: (p / "code/x").symlink_to("nothing"), "code/x: a link;"),
    "a linked parent": (
        lambda p, other: [shutil.move(p / "code", other / "code"),
                          (p / "code").symlink_to(other / "code")],
        "code: a link;",
    ),
    "a package of a name": (
        lambda p, _: written(p / "code/model/__init__.py"),
        "code/model: a folder with 1 file that manifest.json does not list; Python may run it in "
        "place of code/model.py",
    ),
    "an extension": (
        lambda p, _: written(p / "code/numpy.so"),
        "code/numpy.so: manifest.json does not list it; Python runs it where a script or a library "
        "imports 'numpy'",
    ),
    "leftovers of TeX": (lambda p, _: written(p / "paper/build/main.aux"), "paper/build: 1 file"),
    "a pipe": (lambda p, _: pipe(p / "code/pipe"), "code/pipe: a FIFO;"),
    "a pipe as a file": (lambda p, _: pipe(p / "code/model.py"), "code/model.py: a FIFO;"),
    "a socket": (lambda p, _: bound(p / "code/s"), "code/s: a socket;"),
    "an empty folder": (lambda p, _: (p / "code/torch").mkdir(), "code/torch: a folder with 0"),
    "a hidden file": (lambda p, _: written(p / ".git/hooks/x"), ".git: a folder with 1 file"),
    "a makefile": (lambda p, _: written(p / "paper/GNUmakefile"), "paper/GNUmakefile: manifest"),
    "a huge file": (
        lambda p, _: os.truncate(p / "code/model.py", 2**40), "code/model.py: not as manifest"
    ),
    "another text": (
        lambda p, _: written(p / "code/model.py", b"import torhc\n"),
        "code/model.py: differs from a clean build",
    ),
    "a name that moves the cursor": (
        lambda p, _: written(p / "code/\x1b[2J\udcff"), r"code/\x1b[2J\udcff: manifest.json"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_what_the_manifest_does_not_list_is_named(name: str, package: Path, tmp_path: Path) -> None:
    attack, expected = ATTACKS[name]
    (tmp_path / "other").mkdir()
    attack(package, tmp_path / "other")
    lines = findings(package)
    assert any(expected in line for line in lines), lines
    assert not any("passwd" in line or "root:" in line for line in lines)


def test_a_file_that_the_manifest_lists_and_no_build_makes_is_named(package: Path) -> None:
    written(package / "code/torch.py", b"payload\n")
    rows = json.loads((package / "manifest.json").read_bytes())
    rows.append(row("code/torch.py", b"payload\n"))
    (package / "manifest.json").write_text(json.dumps(rows))
    assert (
        "code/torch.py: a clean build does not make it; Python runs it where a script or a library "
        "imports 'torch'"
    ) in findings(package)


def with_row(**changed: object) -> str:
    return json.dumps([{k: v for k, v in (row("a", b"a") | changed).items() if v is not None}])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "cannot be read"),
        ("\xff{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("{}", "is no list of files"),
        ("[]", "is no list of files"),
        ("[3]", "row 1: this is no mapping"),
        (with_row(edited=None), "row 1: the field 'edited' is missing"),
        (with_row(path=None), "row 1: the field 'path' is missing"),
        (with_row(path=["a"]), "row 1: the field 'path' must be text"),
        (with_row(bytes=True), "row 1: the field 'bytes' must be a whole number"),
        (with_row(edited="no"), "row 1: the field 'edited' must be true or false"),
        (with_row(sha256="x"), "must be 64 hexadecimal digits"),
        (with_row(path="/etc/shadow"), "the path '/etc/shadow' is not one below"),
        (with_row(path="../../.."), "is not one below"),
        (with_row(path="a/./b"), "is not one below"),
        (with_row(path="a\0"), "is not one below"),
        (with_row(path="\ud800"), "is not one below"),
        (json.dumps([row("a", b""), row("a", b"")]), "two rows have the same path"),
    ],
)
def test_a_malformed_manifest_is_a_sentence(text: str, expected: str, package: Path) -> None:
    (package / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(TaskError, match=expected):
        findings(package)


@pytest.mark.parametrize("attack", [pipe, lambda path: os.truncate(path, 2**40)])
def test_a_manifest_that_never_ends_is_a_sentence(
    attack: Callable[[Path], None], package: Path
) -> None:
    attack(package / "manifest.json")
    with pytest.raises(TaskError, match="cannot be read"):
        findings(package)


@pytest.mark.parametrize("attack", [Path.unlink, pipe])
def test_a_folder_without_a_spec_is_no_package(
    attack: Callable[[Path], None], package: Path
) -> None:
    attack(package / "spec_resolved.yaml")
    with pytest.raises(UsageError, match=r"it has no file spec_resolved\.yaml"):
        findings(package)


def test_a_folder_that_is_too_deep_or_too_full_ends(package: Path, monkeypatch) -> None:
    deep = package / "code"
    handle = os.open(deep, os.O_RDONLY)
    for _ in range(40):  # deeper than a path may be long
        os.mkdir("d" * 200, dir_fd=handle)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(handle)
    assert any("this cannot be read: File name too long" in line for line in findings(package))
    monkeypatch.setattr("metagen.engine.inventory._MOST", 10)
    with pytest.raises(TaskError, match="more than 10 entries"):
        findings(package)


@pytest.mark.slow
def test_byte_code_that_python_would_run_is_a_finding_of_the_command(
    tmp_path: Path,
) -> None:
    from metagen import paths

    spec = paths.specs() / "text" / "text_llm_tiny.yaml"
    built = CliRunner().invoke(main, ["synth", str(spec), "--out", str(tmp_path), "bench=none"])
    assert built.exit_code == 0
    run = (tmp_path / "run-text_llm_tiny").rename(tmp_path / "MyModel")
    told = CliRunner().invoke(main, ["verify", str(run)])
    assert told.exit_code == 0, told.output
    tag = sys.implementation.cache_tag
    written(run / f"code/__pycache__/model.{tag}.pyc")
    told = CliRunner().invoke(main, ["verify", str(run)])
    assert told.exit_code == 1
    assert "Python may run it in place of code/model.py" in told.output


def test_nothing_waits(package: Path) -> None:
    """A pipe that nobody writes to must not be opened for reading."""
    pipe(package / "README.md")
    thread = threading.Thread(target=findings, args=(package,), daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def test_without_the_training_run_what_rests_on_it_is_hashed_and_named(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = tmp_path / "clean"
    trained = {"trained/model.json": b'{"status": "trained"}', "release/x": b"weights"}
    for path, data in trained.items():
        (package / path).parent.mkdir(exist_ok=True)
        (package / path).write_bytes(data)
    (clean / "trained").mkdir()
    (clean / "trained/model.json").write_bytes(b'{"status": "not trained"}')
    rows = json.loads((package / "manifest.json").read_bytes())
    rows += [row(path, data) for path, data in trained.items()]
    (package / "manifest.json").write_text(json.dumps(rows))
    resting = {"trained/model.json", "manifest.json"}
    monkeypatch.setattr(verify, "_resting_on_training", lambda clean: resting)
    unbuilt: list[str] = []
    found = list(verify.verify(package, vary=False, binding=NOTHING, unbuilt=unbuilt))
    assert (found, unbuilt) == ([], ["manifest.json", "release/x", "trained/model.json"])
    line = verify.not_built(package, unbuilt)
    assert "3 files not built again, since the training run is not here: manifest.json" in line
    (package / "README.md").write_bytes(b"# Another\n")
    (package / "release/x").write_bytes(b"WEIGHTS")
    found = findings(package)
    assert "release/x: not as manifest.json says" in found
    assert "README.md: differs from a clean build" in found


def test_what_rests_on_training_follows_from_the_traces(tmp_path: Path) -> None:
    def model(desk: Desk) -> dict[str, bytes]:
        return {"trained/model.json": b"trained" if desk.bound() else b"not trained"}

    def card(desk: Desk) -> dict[str, bytes]:
        return {"docs/card.md": desk.read("trained/model.json")}

    recipes = (
        UPPER,
        Recipe("t:model", model, (), ("trained/model.json",), ""),
        Recipe("t:card", card, ("trained/model.json",), ("docs/card.md",), ""),
    )
    _, engine = Out(tmp_path / "out").build(recipes)
    with (
        mock.patch.object(verify, "of_built", return_value=nullcontext(engine)),
        mock.patch.object(verify, "_of_bound_graphs", return_value=set()),
    ):
        assert verify._resting_on_training(tmp_path) == {"trained/model.json", "docs/card.md"}


def test_a_file_too_large_to_load_is_hashed(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metagen.engine.inventory.LARGEST", 4)
    monkeypatch.setattr(verify, "manifest", lambda here: manifest_rows(package))
    assert not findings(package)
    (package / "README.md").write_bytes(b"# Tox\n")
    assert findings(package) == [
        "README.md: not as manifest.json says",
        "README.md: differs from a clean build",
    ]


def manifest_rows(package: Path) -> dict[str, dict[str, object]]:
    return {row["path"]: row for row in json.loads((package / "manifest.json").read_bytes())}


def test_files_of_a_bound_package_only_rest_on_training() -> None:
    spec = load(paths.specs() / "tabular" / "tabular_classifier.yaml")
    only = verify._of_bound_graphs(of_spec(spec, "package"))
    assert {"docs/release.json", "release/README.md", "ro-crate-metadata.json"} <= only
    assert not only & {"code/model.py", "README.md"}
