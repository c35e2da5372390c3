"""The recipes of code/: each file from architecture.yaml, and nothing else of the spec."""

from __future__ import annotations

import copy
import importlib.metadata
import itertools
import json
import platform
import tomllib
from pathlib import Path

import pytest
from helpers.fake_desk import FakeDesk
from helpers.generated import TINY
from helpers.plain_desk import PlainDesk

from metagen import entries, files, paths
from metagen.errors import MetagenError
from metagen.families.decoder import FAMILY as decoder
from metagen.package import code
from metagen.package.code import recipes

ROOT = paths.templates().parent


def build(folder: Path, architecture: dict[str, object]) -> dict[str, bytes]:
    """Return the files of code/ that the recipes make, in their order."""
    yaml = files.yaml_bytes({"family": "decoder", **architecture})
    desk = PlainDesk("", folder, {"blueprint/architecture.yaml": yaml})
    for recipe in recipes(decoder):
        made = recipe.work(desk)
        assert tuple(made) == recipe.targets
        desk.package |= made
    return desk.package


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    full = copy.deepcopy(TINY)
    full["model"]["d_model"] = 64
    return build(tmp_path_factory.mktemp("spec"), {**full, "proxy": TINY})


def test_the_code_is_set_to_the_full_size_and_config_json_to_the_proxy(
    package: dict[str, bytes],
) -> None:
    assert json.loads(package["code/config.json"]) == {"proxy": TINY}
    assert b"    d_model: int = 64  # width" in package["code/model.py"]


def test_requirements_are_what_is_imported_at_the_versions_of_metagen(
    package: dict[str, bytes],
) -> None:
    lines = package["code/requirements.txt"].decode().splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = itertools.chain.from_iterable(project["optional-dependencies"].values())
    declared = {line.split(",")[0] for line in (*project["dependencies"], *extras)}
    assert [line.partition(">")[0] for line in lines] == sorted(
        ["numpy", "pyarrow", "safetensors", "tokenizers", "torch", "tqdm"]
    )
    assert set(lines) <= declared


def test_the_lock_has_the_version_in_use_of_each_requirement(package: dict[str, bytes]) -> None:
    versions = entries.parse(code.LOCK, package[code.LOCK])
    names = [line.partition(">")[0] for line in package[code.REQUIREMENTS].decode().splitlines()]
    assert versions.pop("python") == platform.python_version()
    used = {name: importlib.metadata.version(name).partition("+")[0] for name in names}
    assert versions == used


def test_a_library_that_is_not_installed_has_no_version_in_the_lock() -> None:
    desk = FakeDesk({code.REQUIREMENTS: b"numpy>=1.26\nnilearn>=0.11\n"}, {})
    desk.version = lambda name: "" if name == "nilearn" else "2.13.0+cpu"  # type: ignore[method-assign]
    text = code.lock(desk)[code.LOCK].decode()  # type: ignore[arg-type]
    assert text.splitlines()[1:] == ["numpy==2.13.0", "# nilearn was not installed."]
    assert entries.parse(code.LOCK, text.encode())["numpy"] == "2.13.0"


def test_the_readme_shows_commands_that_exist(package: dict[str, bytes]) -> None:
    text = package["code/README.md"].decode()
    for name in ("train", "eval", "infer", "data"):
        assert f"python {name}.py" in text
        assert f"code/{name}.py" in package


def test_a_section_with_another_field_is_refused_by_name(tmp_path: Path) -> None:
    wrong = copy.deepcopy(TINY)
    wrong["train"]["momentum"] = 0.9
    with pytest.raises(MetagenError, match=r"train\.py: Config has no field momentum"):
        build(tmp_path, {**wrong, "proxy": TINY})
