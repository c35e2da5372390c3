"""Generated programs run alone: a clean environment, and nothing outlives the build."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.waiting import wait_for

from metagen.errors import TaskError
from metagen.measure import sandbox

SHOW = b"import os, json\nprint(json.dumps(dict(os.environ)))\n"


def run(program, *arguments, wanted=(sandbox.STDOUT,), timeout=20, **options):
    files = {"code/p.py": program}
    return sandbox.run(("code/p.py", *arguments), files, wanted, timeout=timeout, **options)


def test_the_program_sees_nothing_of_the_users_environment(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    monkeypatch.setenv("SECRET_TOKEN", "hidden")
    seen = json.loads(run(SHOW)[sandbox.STDOUT])
    assert not {"HTTPS_PROXY", "SECRET_TOKEN", "PYTHONPATH"} & set(seen)
    assert seen["PYTHONHASHSEED"] == "0"
    assert seen["OMP_NUM_THREADS"] == seen["MKL_NUM_THREADS"] == "1"
    assert seen["HOME"] != os.environ.get("HOME")


def test_the_files_that_are_asked_for_come_back_and_the_folder_is_gone():
    program = b"import pathlib, sys\npathlib.Path('a/b').mkdir(parents=True)\n"
    program += b"pathlib.Path('a/b/c').write_text(sys.argv[1])\nprint(pathlib.Path.cwd())\n"
    left = run(program, "word", wanted=("a/b/c", sandbox.STDOUT))
    assert left["a/b/c"] == b"word"
    assert not Path(left[sandbox.STDOUT].decode().strip()).exists()


def test_a_failure_shows_the_last_lines_of_the_error():
    with pytest.raises(TaskError) as error:
        run(b"def broken():\n    raise ValueError('no such thing')\nbroken()\n")
    assert "python code/p.py ended with status 1" in str(error.value)
    assert str(error.value).splitlines()[-1].strip() == "ValueError: no such thing"


def test_a_missing_result_is_named():
    with pytest.raises(TaskError, match="did not write out/weights"):
        run(b"pass\n", wanted=("out/weights",))


def test_lines_of_progress_arrive_while_the_program_runs():
    lines = []
    program = b"import sys\nfor n in range(3): print('step', n, file=sys.stderr)\n"
    run(program, wanted=(), on_line=lines.append)
    assert lines == ["step 0", "step 1", "step 2"]


def test_a_program_that_takes_too_long_is_stopped():
    lines = []
    program = b"import sys, time\ntime.sleep(60)\nprint('not stopped', file=sys.stderr)\n"
    with pytest.raises(TaskError, match="stopped after 1 seconds"):
        run(program, timeout=1, on_line=lines.append)
    assert lines == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_build_takes_the_program_and_its_children_with_it(tmp_path, number):
    note = tmp_path / "pids"
    child = (
        "import os, subprocess, sys, time\n"
        "other = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3600)'])\n"
        f"open({str(note)!r} + '.new', 'w').write(f'{{os.getpid()}} {{other.pid}}')\n"
        f"os.rename({str(note)!r} + '.new', {str(note)!r})\n"
        "time.sleep(3600)\n"
    )
    parent = (
        "from metagen.measure import sandbox\n"
        f"sandbox.run(('p.py',), {{'p.py': {child.encode()!r}}}, (), timeout=3600)\n"
    )
    build = subprocess.Popen(
        [sys.executable, "-c", parent],
        cwd=Path(__file__).parent.parent,
        stderr=subprocess.DEVNULL,
    )
    wait_for(note.exists)
    build.send_signal(number)
    assert build.wait() != 0
    pids = [int(pid) for pid in note.read_text().split()]
    assert len(pids) == 2
    wait_for(lambda: not any(alive(pid) for pid in pids))


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
