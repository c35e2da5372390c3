"""Programs run in forks of one process as they would run alone, and none outlives this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.waiting import wait_for

from metagen.errors import TaskError
from metagen.measure import sandbox, warm

SHOW = b"""
import json, os, sys, xml
import beside
about = {"main": __name__, "path": sys.path[0], "folder": os.getcwd(), "own": "html" in vars(xml)}
xml.html = 1
print(json.dumps({**about, "arguments": sys.argv, "environment": dict(os.environ)}))
"""


@pytest.fixture(autouse=True)
def only_on_linux() -> None:
    if sys.platform != "linux":
        pytest.skip("elsewhere no process is kept")


def run(python, program, *arguments, wanted=(sandbox.STDOUT,), timeout=60, **options):
    files = {"code/p.py": program, "code/beside.py": b""}
    return python(("code/p.py", *arguments), files, wanted, timeout=timeout, **options)


def test_a_program_sees_what_it_sees_alone_and_nothing_of_the_one_before(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hidden")
    with warm.python({warm.REQUIREMENTS: b"xml\n"}) as python:
        first, second = (json.loads(run(python, SHOW, "a")[sandbox.STDOUT]) for _ in range(2))
    alone = json.loads(run(sandbox.run, SHOW, "a")[sandbox.STDOUT])
    assert first["folder"] != second["folder"]
    for seen in (first, second, alone):
        folder = seen.pop("folder")
        assert seen.pop("path") == f"{folder}/code"
        assert {seen["environment"].pop(name) for name in ("HOME", "TMPDIR")} == {folder}
        for name in ("PWD", "SHLVL", "_", "OLDPWD"):  # Those of the shell that starts a program.
            seen["environment"].pop(name, None)
    assert first == second == alone
    assert not alone["own"]


def test_one_process_imports_what_the_package_requires(tmp_path):
    program = b"import os, sys\nprint(os.getppid(), 'wave' in sys.modules)\n"
    with warm.python({warm.REQUIREMENTS: b"wave>=1,<2\nno_such_library==3\n"}) as python:
        told = [run(python, program)[sandbox.STDOUT].split() for _ in range(2)]
    assert told[0] == told[1]
    assert told[0][1] == b"True"
    assert not alive(int(told[0][0]))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_what_is_left_comes_back_with_the_seconds_of_its_program_alone():
    spend = b"import time\nwhile time.process_time() < 0.3: pass\nopen('a', 'w').write('x')\n"
    wanted = ("a", sandbox.SECONDS)
    with warm.python({}) as python:
        left = run(python, spend, wanted=wanted)
        less = run(python, b"open('a', 'w').write('y')\n", wanted=wanted)
    assert (left["a"], less["a"]) == (b"x", b"y")
    assert float(left[sandbox.SECONDS]) >= 0.3 > float(less[sandbox.SECONDS])


def test_lines_arrive_and_a_failure_shows_the_last_ones_and_ends_nothing():
    lines: list[str] = []
    failing = b"import sys\nprint('step 1', file=sys.stderr)\nraise ValueError('no such thing')\n"
    with warm.python({}) as python:
        with pytest.raises(TaskError, match="ended with status 1") as error:
            run(python, failing, on_line=lines.append)
        assert lines[0] == "step 1"
        assert str(error.value).splitlines()[-1].strip() == "ValueError: no such thing"
        with pytest.raises(TaskError, match="did not write out/weights"):
            run(python, b"pass\n", wanted=("out/weights",))
        with pytest.raises(TaskError, match="ended with status 7"):
            run(python, b"import sys\nsys.exit(7)\n")
        with pytest.raises(TaskError, match="killed by signal 9"):
            run(python, b"import os\nos.kill(os.getpid(), 9)\n")
        assert run(python, b"print(1)\n")[sandbox.STDOUT] == b"1\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_program_that_its_watcher_ends_is_killed_and_the_next_one_runs(error):
    def end(line: str) -> None:
        raise error(line)

    program = b"import os, sys, time\nprint(os.getpid(), file=sys.stderr, flush=True)\n"
    own = b"import os\nprint(os.getppid())\n"
    with warm.python({}) as python:
        first = run(python, own)[sandbox.STDOUT]
        with pytest.raises(error) as ended:
            run(python, program + b"time.sleep(60)\n", on_line=end)
        wait_for(lambda: not alive(int(str(ended.value))))
        # An interruption ends everything, and the end of a trial nothing else.
        assert (run(python, own)[sandbox.STDOUT] == first) == (error is ValueError)


def test_a_program_that_is_late_is_killed_and_the_next_one_runs():
    sleeps = b"import os, sys, time\nprint(os.getpid(), file=sys.stderr, flush=True)\n"
    sleeps += b"time.sleep(60)\n"
    seen: list[str] = []
    with warm.python({}) as python:
        with pytest.raises(TaskError, match="stopped after 1 seconds"):
            run(python, sleeps, timeout=1, on_line=seen.append)
        wait_for(lambda: not alive(int(seen[0])))
        assert run(python, b"print(1)\n")[sandbox.STDOUT] == b"1\n"


def test_a_kill_of_this_process_leaves_neither_program_nor_folder(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "from metagen.measure import warm\n"
        "program = b'import os, sys, time\\n"
        "print(os.getpid(), os.getcwd(), file=sys.stderr, flush=True)\\ntime.sleep(60)\\n'\n"
        "with warm.python({}) as python:\n"
        "    python(('p.py',), {'p.py': program}, (), timeout=60,"
        " on_line=lambda line: print(line, flush=True))\n"
    )
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    pid, folder = parent.stdout.readline().split()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(lambda: not alive(int(pid)) and not Path(folder).exists())
    parent.stdout.close()
