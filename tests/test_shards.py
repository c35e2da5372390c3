"""Shards of many specs: every spec is in one, whatever machine asks, and which is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.building import TINY

from metagen.cli import main
from metagen.cli.options import Request
from metagen.engine import doors
from metagen.engine.workspace import Shard
from metagen.errors import UsageError


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    folder = tmp_path / "specs"
    for number in range(7):
        place = folder / f"part{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        text = TINY.read_text().replace("name: text_llm_tiny", f"name: tiny_{number}")
        (place / f"{number}.yaml").write_text(text)
    return folder


def taken(shard: str, *arguments: str) -> tuple[Path, ...]:
    return Request.of(arguments, None, None, shard).specs


@pytest.mark.parametrize("count", [1, 2, 3, 7, 9])
def test_every_spec_is_in_one_of_equal_shards(count: int, specs: Path) -> None:
    shards = [taken(f"{number}/{count}", str(specs)) for number in range(1, count + 1)]
    assert sorted(spec for shard in shards for spec in shard) == sorted(specs.rglob("*.yaml"))
    sizes = {len(shard) for shard in shards}
    assert max(sizes) - min(sizes) <= 1


def test_a_shard_is_the_same_on_another_machine(specs: Path, tmp_path: Path) -> None:
    parts = [str(specs / "part0"), str(specs / "part1")]
    assert taken("2/3", *parts) == taken("2/3", *reversed(parts)) == taken("2/3", str(specs))
    moved = shutil.copytree(specs, tmp_path / "else" / "where")
    here, there = (
        [spec.relative_to(root) for spec in taken("2/3", str(root))] for root in (specs, moved)
    )
    assert here == there


def test_a_build_says_which_shard_it_takes(specs: Path) -> None:
    arguments = ["synth", str(specs), "--shard", "8/9"]
    told = CliRunner().invoke(main, arguments)
    assert (told.exit_code, told.output) == (0, "shard 8/9: 0 of 7 specs\n")
    event, end = map(
        json.loads, CliRunner().invoke(main, [*arguments, "--json"]).output.split("\n")[:2]
    )
    assert event == {"event": "shard", "shard": "8/9", "specs": [], "all": 7}
    assert end["status"] == 0
    assert CliRunner().invoke(main, ["plan", *arguments[1:]]).output.startswith("shard 8/9")


def test_doit_takes_a_shard(
    specs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doors, "exit_on_signals", lambda: None)
    variables = (f"spec={specs}", "shard=7/7", f"out={tmp_path / 'out'}", f"cache={tmp_path / 'c'}")
    _, tasks = doors.open_graph(["synth", *variables])
    names = {task["name"] for task in tasks if task["basename"] == "manifest" and task["name"]}
    assert names == {"tiny_5/manifest"}
    assert "shard 7/7: 1 of 7 specs" in capsys.readouterr().out
    assert (tmp_path / "c" / "CACHEDIR.TAG").is_file()


@pytest.mark.parametrize(
    "text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "a/b", "1/2/3", "1.0/2", "²/3"]
)
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="There is no shard"):
        Shard.of(text)


def test_shards_that_would_fill_one_folder_are_refused(specs: Path) -> None:
    shutil.copy(specs / "part0" / "0.yaml", specs / "part1" / "copy.yaml")
    for number in (1, 2, 3):
        with pytest.raises(UsageError, match="would both be built in run-tiny_0"):
            taken(f"{number}/3", str(specs))


def test_a_name_for_all_shards_is_refused(specs: Path) -> None:
    told = CliRunner().invoke(main, ["synth", str(specs), "--shard", "1/2", "--run-id", "x"])
    assert told.exit_code == 2
    assert "All shards would fill one folder" in told.output
    told = CliRunner().invoke(main, ["synth", str(specs), "--shard", "1/2", "name=x"])
    assert told.exit_code == 2
    assert "All shards would fill one folder" in told.output
