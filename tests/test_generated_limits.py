"""What settings may be: each field of a wrong type or out of its range is one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import make_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers.generated import TINY, modules, write_package


class Large(float):
    """A number beyond what a count may be."""


WRONG = ("text", None, [1], {"a": 1}, -1, float("nan"), float("inf"), Large(1e18), True)
SECTIONS = ("model", "data", "train", "eval", "infer")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("code"))


@pytest.fixture(scope="module")
def code(folder: Path) -> Iterator[dict[str, ModuleType]]:
    with modules(folder) as found:
        yield found


def refused(values: dict[str, Any], name: str) -> list[Any]:
    """Return the wrong values of a field; a text may be right, and a large number."""
    kind = type(values[name])
    right = {str: (str,), bool: (bool,), float: (Large,)}.get(kind, ())
    return [each for each in WRONG if type(each) not in right]


@pytest.mark.parametrize("section", SECTIONS)
def test_each_field_of_the_proxys_settings_is_checked(
    code: dict[str, ModuleType], section: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, check = code[section].Config, code["runtime.limits"].check_settings
    check(kind, section, TINY[section], "here")
    for name in TINY[section]:
        for value in refused(TINY[section], name):
            with pytest.raises(SystemExit):
                check(kind, section, {name: value}, "here")
            assert f"here: {name} must be " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"proxy": []}, "proxy must be an object"),
        ({"proxy": {"train": "x"}}, "train must be an object"),
        ({"proxy": {"train": {"steps": 1}}}, "unknown or missing fields"),
        ({"proxy": {"train": TINY["train"] | {"steps": "6"}}}, "steps must be a whole number"),
        ({"proxy": {"train": TINY["train"] | {"batch_size": 10**18}}}, "at most 1000000000, and"),
        ({"proxy": {"model": TINY["model"] | {"d_model": -32}}}, "d_model must be a whole number"),
    ],
)
def test_a_config_of_wrong_types_is_one_sentence(
    code: dict[str, ModuleType],
    folder: Path,
    content: dict[str, Any],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = folder / "config.json"
    kept = path.read_text()
    path.write_text(json.dumps(content))
    section = "model" if "model" in content["proxy"] else "train"
    with pytest.raises(SystemExit):
        code["runtime.settings"].load_config(code[section].Config, section, "proxy")
    path.write_text(kept)
    assert words in capsys.readouterr().err


def test_settings_that_are_typed_into_a_script_are_checked(
    code: dict[str, ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    kind = make_dataclass("Config", [("drop_path", float, 1.0)])
    with pytest.raises(SystemExit):
        code["runtime.settings"].load_config(kind, "train", "full")
    assert "the Config of train.py: drop_path must be a number" in capsys.readouterr().err


def test_sizes_that_do_not_go_together_are_one_sentence(
    code: dict[str, ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    module = code["model"]
    build = lambda: module.Model(module.Config(n_heads=3))  # noqa: E731
    with pytest.raises(SystemExit):
        code["runtime.weights"].outline(build)
    assert "cannot be built: 3 heads cannot share 2 KV heads" in capsys.readouterr().err


@pytest.mark.parametrize("step", ["text", None, [6], {"a": 6}, -6, 6.5, True])
def test_a_state_of_another_step_type_is_one_sentence(
    code: dict[str, ModuleType], tmp_path: Path, step: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"step": step}))
    with pytest.raises(SystemExit):
        code["runtime.checkpoint"].saved_state(tmp_path)
    assert f"state.json has step = {json.dumps(step)}, not a whole" in capsys.readouterr().err
