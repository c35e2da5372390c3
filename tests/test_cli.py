"""The command line and the doit door, as a user meets them: in a process of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner
from helpers import remembered
from helpers.building import fake_measurements
from helpers.turns import in_turn

from metagen.cli import main
from metagen.measure import sandbox

REPOSITORY = Path(__file__).parent.parent
SPEC = REPOSITORY / "specs" / "text" / "text_llm_tiny.yaml"
BIN = Path(sys.executable).parent


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An out folder built by the command, without training and with measurements of no cost."""
    folder = tmp_path_factory.mktemp("cli") / "out"
    line = ["synth", str(SPEC), "--out", str(folder), "bench=none"]
    with (
        mock.patch.object(sandbox, "run", fake_measurements),
        remembered.code(),
        remembered.figures_of_equal_data(),
    ):
        done = CliRunner().invoke(main, line)
    assert done.exit_code == 0, done.output
    return folder


def test_a_second_synth_runs_no_task_and_imports_nothing_heavy(out: Path) -> None:
    code = (
        "import sys; from metagen.cli import main\n"
        f"sys.argv = ['metagen', 'synth', {str(SPEC)!r}, '--out', 'out', 'bench=none']\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code, [m for m in "
        "('torch', 'matplotlib', 'numpy', 'rich', 'tqdm') if m in sys.modules])"
    )
    told = run(sys.executable, "-c", code, cwd=out.parent)
    assert told.stdout.splitlines()[-1] == "0 []"
    assert "0 tasks ran, 0 restored" in told.stdout


def test_the_summary_shows_what_summary_json_holds(out: Path) -> None:
    told = run("metagen", "synth", str(SPEC), "--out", "out", "bench=none", cwd=out.parent)
    summary = json.loads((out / "run-text_llm_tiny" / "docs" / "summary.json").read_bytes())
    assert f"{summary['parameters']['total']:,}" in told.stdout
    assert "not measured" in told.stdout


def test_a_build_that_takes_over_the_folder_of_another_spec_says_so(out: Path) -> None:
    mine = ("--run-id", "text_llm_tiny", "name=another one", "bench=none")
    told = run("metagen", "synth", str(SPEC), "--out", "out", *mine, "--dry-run", cwd=out.parent)
    assert "run-text_llm_tiny holds the package of text_llm_tiny" in told.stderr


def test_each_command_has_a_whole_line_of_help(tmp_path: Path) -> None:
    told = run("metagen", "--help", cwd=tmp_path).stdout
    commands = told.partition("Commands:")[2].partition("Exit status:")[0].strip().splitlines()
    assert len(commands) == len(main.commands)
    assert not [line for line in commands if not line.endswith(".") or line.endswith("...")]


@pytest.mark.parametrize(
    "text", in_turn([b"{}\n{}", b"[1]", b'{"constraints": [], "name": 3}', b"\xff"])
)
def test_a_summary_that_a_person_spoiled_is_kept_and_not_believed(
    out: Path, tmp_path: Path, text: bytes
) -> None:
    copy = Path(shutil.copytree(out, tmp_path / "out"))
    (copy / "run-text_llm_tiny" / "docs" / "summary.json").write_bytes(text)
    command = ("metagen", "synth", str(SPEC), "--out", "out", "bench=none")
    told = run(*command, "--strict", cwd=tmp_path)
    assert (told.returncode, told.stderr) == (0, "")
    assert "docs/summary.json" in told.stdout
    events = run(*command, "--json", cwd=tmp_path).stdout.splitlines()
    assert json.loads(events[-1])["event"] == "end"


@pytest.mark.slow
@pytest.mark.ci
def test_strict_goes_by_the_verdicts_whatever_a_person_made_of_the_summary(
    out: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(out, tmp_path / "out"))
    lost = ("bench=none", "constraints.throughput=1000000000 tok/s")
    command = ("metagen", "synth", str(SPEC), "--out", "out", "--strict", *lost)
    assert run(*command, cwd=tmp_path).returncode == 3
    (copy / "run-text_llm_tiny" / "docs" / "summary.json").write_bytes(b"[1]")
    assert run(*command, cwd=tmp_path).returncode == 3


def test_an_unknown_doit_variable_is_an_error_with_the_nearest_name(tmp_path: Path) -> None:
    told = run("doit", "synth", "spce=specs/text/text_llm_tiny.yaml", cwd=REPOSITORY)
    assert told.returncode == 2
    assert "'spce'" in told.stderr
    assert "Did you mean 'spec'?" in told.stderr


def test_doit_builds_one_target_from_what_the_command_line_built(out: Path) -> None:
    target = out / "run-text_llm_tiny" / "code" / "model.py"
    target.unlink()
    told = run("doit", str(target), f"spec={SPEC}", f"out={out}", "bench=none", cwd=REPOSITORY)
    assert told.returncode == 0, told.stderr
    assert "restored" in told.stdout
    assert target.is_file()


def test_doit_lists_the_stages(tmp_path: Path) -> None:
    told = run("doit", "list", f"out={tmp_path}", cwd=REPOSITORY)
    assert told.returncode == 0, told.stderr
    names = [line.split()[0] for line in told.stdout.splitlines()]
    assert {"blueprint", "code", "docs", "paper", "synth"} <= set(names)
    assert list(tmp_path.iterdir()) == [], "looking writes nothing"


@pytest.mark.slow
@pytest.mark.ci
def test_doit_clean_removes_the_package_but_no_edited_file(tmp_path: Path) -> None:
    arguments = (f"spec={SPEC}", f"out={tmp_path}", "bench=none")
    assert run("doit", "blueprint", *arguments, cwd=REPOSITORY).returncode == 0
    folder = tmp_path / "run-text_llm_tiny"
    (folder / "code" / "model.py").write_text("# mine\n")
    told = run("doit", "clean", *arguments, cwd=REPOSITORY)
    assert told.returncode == 0, told.stderr
    left = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    assert left == ["code/model.py"]


@pytest.mark.slow
@pytest.mark.ci
def test_doit_forget_makes_the_next_build_run_its_tasks_again(tmp_path: Path) -> None:
    arguments = (f"spec={SPEC}", f"out={tmp_path}", "bench=none")
    assert run("doit", "blueprint", *arguments, cwd=REPOSITORY).returncode == 0
    assert run("doit", "forget", "code", *arguments, cwd=REPOSITORY).returncode == 0
    told = run("doit", "blueprint", *arguments, cwd=REPOSITORY)
    assert "made run-text_llm_tiny/code/model.py (same bytes)" in told.stdout
    assert "architecture.yaml" not in told.stdout


def test_doit_info_tells_why_a_task_is_not_current(out: Path) -> None:
    arguments = ("spec:text_llm_tiny/resolved", f"spec={SPEC}", f"out={out}", "bench=none")
    told = run("doit", "info", *arguments, "license=gpl-3.0", cwd=REPOSITORY)
    assert "license mit -> gpl-3.0" in told.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["synth"], 2, "Missing argument"),
        (["synth", "nowhere.yaml"], 2, "nowhere.yaml"),
        (["synth", str(SPEC), "constraints.contxt_window=8k"], 2, "context_window"),
        (["synth", str(SPEC), "--jobs", "0"], 2, "--jobs"),
        (["snyth"], 2, "No such command"),
    ],
)
def test_wrong_usage_is_told_and_writes_nothing(
    tmp_path: Path, arguments: list[str], status: int, words: str
) -> None:
    told = run("metagen", *arguments, cwd=tmp_path)
    assert told.returncode == status
    assert words in told.stderr
    assert "Traceback" not in told.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_is_held_is_told_at_once_with_no_wait(out: Path) -> None:
    import fcntl

    with (out / ".metagen" / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        told = run("metagen", "synth", str(SPEC), "--out", "out", "--no-wait", cwd=out.parent)
    assert told.returncode == 4
    assert "Another build is running" in told.stderr


def test_a_doit_configuration_in_the_users_folder_changes_nothing(
    out: Path, tmp_path: Path
) -> None:
    (tmp_path / "doit.cfg").write_text("[GLOBAL]\nbackend = nonsense\nreporter = nonsense\n")
    told = run("metagen", "synth", str(SPEC), "--out", str(out), "bench=none", cwd=tmp_path)
    assert told.returncode == 0, told.stderr


@pytest.mark.slow
@pytest.mark.ci
def test_a_violated_constraint_is_status_3_under_strict_only(out: Path) -> None:
    arguments = (
        "synth",
        str(SPEC),
        "--out",
        "out",
        "bench=none",
        "constraints.throughput=1000000 tok/s",
    )
    assert run("metagen", *arguments, cwd=out.parent).returncode == 0
    told = run("metagen", *arguments, "--strict", cwd=out.parent)
    assert told.returncode == 3
    assert "violated" in told.stdout


def test_why_prints_one_level_and_says_how_to_see_the_rest(out: Path) -> None:
    file = str(out / "run-text_llm_tiny" / "blueprint" / "params.json")
    short = run("metagen", "why", file, cwd=out.parent).stdout.splitlines()
    assert short[0] == "blueprint/params.json  <- measure:probe"
    assert all(line.startswith("  ") and line[2] != " " for line in short[1:-1])
    count, depth = re.fullmatch(r"\.\.\. (\d+) deeper lines; --depth (\d+) .*", short[-1]).groups()
    whole = run("metagen", "why", file, "--depth", depth, cwd=out.parent).stdout.splitlines()
    assert len(whole) == len(short) - 1 + int(count)
    assert [line for line in whole if line.startswith("spec: ")] == []
    assert any(
        line.strip().startswith("spec: constraints.parameter_budget.max =") for line in whole
    )
    names = [
        line.strip().partition("  <-")[0]
        for line in whole
        if "(details on its other line)" not in line
    ]
    assert names.count("code/model.py") == 1, "a file is expanded once"


def test_why_refuses_a_file_that_no_task_makes(out: Path) -> None:
    file = out / "run-text_llm_tiny" / "notes.txt"
    file.write_text("mine")
    told = run("metagen", "why", str(file), cwd=out.parent)
    file.unlink()
    assert (told.returncode, "No task makes this file" in told.stderr) == (2, True)


def test_validate_and_schema(tmp_path: Path) -> None:
    assert "valid" in run("metagen", "validate", str(SPEC), cwd=tmp_path).stdout
    schema = json.loads(run("metagen", "schema", cwd=tmp_path).stdout)
    assert schema["required"] == ["metagen_version", "name"]


def test_explain_names_what_would_meet_a_limit_that_is_lost(tmp_path: Path) -> None:
    done = run("metagen", "explain", str(SPEC), "constraints.memory_budget=4MB", cwd=tmp_path)
    told = " ".join(done.stdout.partition("\nto meet ")[2].partition("\n\n")[0].split())
    assert told.startswith("memory_budget: memory_budget ")
    assert "parameter_budget.max" in told


def test_explain_prints_decisions_what_binds_and_what_steps_buy(tmp_path: Path) -> None:
    done = run("metagen", "explain", str(SPEC), "constraints.memory_budget=20MB", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    verdict, *tables = done.stdout.split("\n\n")
    assert verdict.startswith("text_llm_tiny: decoder of 9,")
    assert verdict.endswith("it meets each limit")
    dimensions, limits, binding, steps, _ = (table.splitlines() for table in tables)
    assert dimensions[0].split() == ["dimension", "value", "why"]
    assert [line.split()[0] for line in dimensions[1:] if line[0] != " "][1] == "d_model"
    assert "memory_budget allows 20.00 MB" in " ".join(" ".join(limits).split())
    assert binding[0].startswith("binding: parameter_budget.max, memory_budget")
    assert [line.split()[0] for line in steps if line[0] != " "][2::2] == [
        "parameter_budget.max", "memory_budget", "context_window",
    ]  # fmt: skip
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not list(tmp_path.iterdir()), "nothing is built"


def test_explain_gives_a_program_all_reasons(tmp_path: Path) -> None:
    done = run(
        "metagen", "explain", str(SPEC), "--json", "constraints.memory_budget=4MB", cwd=tmp_path
    )
    told = json.loads(done.stdout)
    assert told["exceeded"] == ["memory_budget"]
    assert all(each["reason"] for each in [*told["decisions"], *told["limits"]])


def test_a_reader_that_leaves_early_gets_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [str(BIN / "metagen"), "schema"], stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")
