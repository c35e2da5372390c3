"""Launch files of many workers: each language reads them, and each worker gets its own words."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from metagen import workers
from metagen.cli import main

HOSTILE = (
    "it's",
    "$(touch pwned)",
    "`touch pwned`",
    "${{ secrets.X }}",
    "$(NUMBER)",
    "$$HOME",
    'a "b" \\n',
    "; touch pwned #",
    "key=${HOME} *",
    "- x: &a",
    "é模",
    "-n",
)
IMAGE = "registry.example/metagen:1"
URL = "http://cache.example:8080/all"
SHELLCHECK = Path(sys.executable).with_name("shellcheck")


def launched(kind: str, *words: str, count: int = 3, image: str = IMAGE) -> str:
    options = ["--workers", str(count), "--out", "my out", "--image", image, "--cache", URL]
    told = CliRunner().invoke(main, ["launch", *options, kind, "--", *words])
    assert told.exit_code == 0, told.output
    return told.output


def expected(worker: int, *words: str) -> list[str]:
    own = ["--shard", f"{worker}/3", "--out", f"my out/shard-{worker}"]
    return ["synth", *own, "-n", "1", "--cache", URL, "--cache-upload", "--", *words]


def noting(folder: Path, **programs: str) -> dict[str, str]:
    """Return an environment in which `metagen` notes its words; other programs as given."""
    notes = f"#!{sys.executable}\nimport json, sys\n"
    notes += f"open({str(folder / 'noted')!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
    bodies = programs | {"metagen": notes}
    (folder / "bin").mkdir()
    for name, body in bodies.items():
        (folder / "bin" / name).write_text(body)
        (folder / "bin" / name).chmod(0o755)
    return os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}


def noted(folder: Path) -> list[list[str]]:
    assert not (folder / "pwned").exists()
    return sorted(json.loads(line) for line in (folder / "noted").read_text().splitlines())


def bash(script: str, folder: Path, environment: dict[str, str], **more: str) -> None:
    subprocess.run(["bash", "-c", script], cwd=folder, env=environment | more, check=True)


def criticized(script: str, folder: Path) -> str:
    (folder / "script.sh").write_text(script)
    told = subprocess.run(
        [SHELLCHECK, "-s", "bash", folder / "script.sh"], capture_output=True, text=True
    )
    return told.stdout


def in_kubernetes(command: str) -> str:
    """Return a command as Kubernetes leaves it where no variable has a name in $(...)."""
    return command.replace("$$", "$")


def in_github(script: str) -> str:
    return script.replace("${{ '${{' }}", "${{")


def script_of(kind: str, text: str) -> tuple[str, str]:
    """Return the script of a worker, and the variable that numbers it."""
    if kind == "slurm":
        return text, "SLURM_ARRAY_TASK_ID"
    content: Any = yaml.safe_load(text)
    if kind == "kubernetes":
        (container,) = content["spec"]["template"]["spec"]["containers"]
        assert container["command"][:2] == ["bash", "-c"]
        return in_kubernetes(container["command"][2]), "JOB_COMPLETION_INDEX"
    if kind == "github":
        *_, step = content["jobs"]["worker"]["steps"]
        assert step["env"]["NUMBER"] == "${{ matrix.worker }}"
        assert step["run"].replace("${{ '${{' }}", "").count("${{") == 0
        return in_github(step["run"]), "NUMBER"
    return content["run"], "SKYPILOT_NODE_RANK"


@pytest.mark.parametrize("kind", ["slurm", "kubernetes", "github", "skypilot"])
def test_each_worker_gets_a_shard_and_every_word_as_it_is(kind: str, tmp_path: Path) -> None:
    script, number = script_of(kind, launched(kind, *HOSTILE))
    environment, first = noting(tmp_path), int(number in ("SLURM_ARRAY_TASK_ID", "NUMBER"))
    for worker in range(first, first + 3):
        bash(script, tmp_path, environment, **{number: str(worker)})
    assert noted(tmp_path) == [expected(worker, *HOSTILE) for worker in (1, 2, 3)]


def test_each_job_of_the_hub_gets_a_shard_and_every_word_as_it_is(tmp_path: Path) -> None:
    # Stands in for `hf jobs run OPTIONS IMAGE COMMAND...`.
    run = f'#!/usr/bin/env bash\nwhile [ "$1" != {IMAGE} ]; do\n'
    run += '  [ "$1" = --env ] && export "${2?}"\n  shift\ndone\nshift\nexec "$@"\n'
    environment = noting(tmp_path, hf=run)
    bash(launched("hf", *HOSTILE), tmp_path, environment)
    assert noted(tmp_path) == [expected(worker, *HOSTILE) for worker in (1, 2, 3)]


def test_submitit_runs_an_array_of_local_processes(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    (tmp_path / "array.py").write_text(launched("submitit", *HOSTILE))
    done = subprocess.run(
        [sys.executable, "array.py"], cwd=tmp_path, env=noting(tmp_path), capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert noted(tmp_path) == [expected(worker, *HOSTILE) for worker in (1, 2, 3)]


def test_a_failed_worker_of_submitit_is_named(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    (tmp_path / "array.py").write_text(launched("submitit", "specs", count=1))
    environment = noting(tmp_path)
    (tmp_path / "bin" / "metagen").write_text("#!/usr/bin/env bash\nexit 1\n")
    done = subprocess.run(
        [sys.executable, "array.py"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "worker failed, see workers-log" in done.stderr.replace(f"{tmp_path}/", "")


@pytest.mark.parametrize("kind", ["slurm", "hf", "kubernetes", "github", "skypilot"])
def test_a_shell_and_its_critic_accept_what_is_shell(kind: str, tmp_path: Path) -> None:
    text = launched(kind, "specs/my specs", "bench=none")
    script = text if kind == "hf" else script_of(kind, text)[0]
    assert not criticized(script, tmp_path)


def test_kinds_that_are_yaml_have_the_fields_of_their_service() -> None:
    job = yaml.safe_load(launched("kubernetes", "specs"))
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    flow = yaml.safe_load(launched("github", "specs"))
    assert flow["jobs"]["worker"]["strategy"]["matrix"] == {"worker": [1, 2, 3]}
    assert flow["permissions"] == {"contents": "read"}
    task = yaml.safe_load(launched("skypilot", "specs"))
    assert (task["num_nodes"], task["resources"]["image_id"]) == (3, f"docker:{IMAGE}")


@pytest.mark.parametrize("kind", workers.KINDS)
def test_workers_of_a_study_join_it(kind: str, tmp_path: Path) -> None:
    told = CliRunner().invoke(
        main, ["launch", kind, "--study", "it's", "--workers", "2", "--image", IMAGE]
    )
    assert told.exit_code == 0, told.output
    if kind == "submitit":
        assert "COMMAND = ['metagen', 'search', 'join', '--', \"it's\"]" in told.output
        ast.parse(told.output)
    elif kind != "hf":
        script, number = script_of(kind, told.output)
        bash(script, tmp_path, noting(tmp_path), **{number: "1"})
        assert noted(tmp_path) == [["search", "join", "--", "it's"]]


@pytest.mark.parametrize("kind", workers.KINDS)
def test_secrets_are_named_and_never_written(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAGEN_CACHE_KEY", "do not write this key")
    monkeypatch.setenv("METAGEN_CACHE", "http://me:password@cache.example")
    told = CliRunner().invoke(
        main, ["launch", kind, "specs", "--signed", "--workers", "2", "--image", IMAGE]
    )
    assert told.exit_code == 0, told.output
    assert "do not write" not in told.output
    assert "password" not in told.output
    # Slurm hands the whole environment of the user to its jobs.
    named = kind not in ("slurm", "submitit")
    assert ("METAGEN_CACHE_KEY" in told.output) == named


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("slurm",), "Name SPECs, or a --study"),
        (("slurm", "specs", "--study", "x"), "Name SPECs, or a --study"),
        (("slurm", "a\nb"), "characters that do not print"),
        (("kubernetes", "specs"), "needs an image"),
        (("github", "specs", "--image", "x", "--workers", "257"), "at most 256 workers"),
        (("hf", "specs", "--image", "x", "--cache", "folder"), "share no folder"),
        (("slurm", "specs", "--cache", "http://me:secret@host"), "no place for a password"),
        (("slurm", "specs", "--cache", "s3://bucket"), "a server of HTTP"),
    ],
)
def test_what_cannot_work_is_refused(words: tuple[str, ...], told: str) -> None:
    result = CliRunner().invoke(main, ["launch", "--workers", "2", *words])
    assert result.exit_code == 2
    assert told in result.output
    assert "secret" not in result.output.replace("as a secret", "")
