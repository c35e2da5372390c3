"""`metagen view` and `metagen watch`: what is served, to whom, and what changed."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from metagen import files
from metagen.docs import report
from metagen.engine.changes import Change, since_last
from metagen.engine.ledger import Ledger, RunLedger, Trace
from metagen.engine.store import Store
from metagen.engine.workspace import StateFolder
from metagen.errors import UsageError
from metagen.view import watch
from metagen.view.server import Server

PAGE = (
    '<!doctype html><html lang="en"><head><meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'\"><title>m</title></head><body><main><h1>m</h1>"
    '<h2 id="verdicts">Verdicts</h2></main></body></html>'
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "out" / "run-m"
    (folder / "docs").mkdir(parents=True)
    (folder / "report.html").write_text(PAGE)
    (folder / "manifest.json").write_text("[]")
    (folder / "docs" / "card.md").write_text("# A card\n\n<script>alert(1)</script> 50%\n")
    (folder / "docs" / "evil.html").write_text("<script>alert(1)</script>")
    (folder / "docs" / "two words.txt").write_text("two")
    (folder / ".secret").write_text("secret")
    (tmp_path / "out" / "other.txt").write_text("secret")
    (folder / "docs" / "link.txt").symlink_to(tmp_path / "out" / "other.txt")
    (folder / "linked").symlink_to(tmp_path / "out")
    os.mkfifo(folder / "docs" / "pipe")
    return folder


@pytest.fixture
def server(run: Path) -> Iterator[Server]:
    with Server(run) as started:
        threading.Thread(target=started.serve_forever, daemon=True).start()
        yield started
        started.shutdown()


def answer(
    server: Server, path: str, host: str | None = None, method: str = "GET"
) -> tuple[int, str, http.client.HTTPMessage]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)) as line:
        line.request(method, path, headers={"Host": host} if host else {})
        got = line.getresponse()
        return got.status, got.read().decode(), got.headers


def test_only_this_machine_is_served(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert answer(server, "/")[0] == 200
    assert answer(server, "/", f"localhost:{server.server_port}")[0] == 200
    for stranger in ("example.org", f"example.org:{server.server_port}", "127.0.0.1"):
        status, text, _ = answer(server, "/", stranger)
        assert (status, text) == (421, "This server has another name.\n")


def test_a_port_in_use_is_refused_in_a_sentence(server: Server, run: Path) -> None:
    with pytest.raises(UsageError, match=r"Port \d+ cannot be used"):
        Server(run, server.server_port)


@pytest.mark.parametrize(
    "path",
    [
        *("/../other.txt", "/docs/../../other.txt", "/%2e%2e/other.txt", "/..%2fother.txt"),
        *("/docs/link.txt", "/linked/other.txt", "/linked/", "/.secret", "/docs/pipe"),
        *("//etc/passwd", "/docs//card.md", "/no", "/%00", "/%ff", "/docs/.", "/docs"),
        "/docs/card.md/",
    ],
)
def test_nothing_but_plain_files_of_the_package_is_sent(server: Server, path: str) -> None:
    status, text, _ = answer(server, path)
    assert (status, text) == (404, "The package has no such file.\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(server: Server, method: str) -> None:
    assert answer(server, "/docs/card.md", method=method)[0] == 501


def test_the_report_loads_itself_again_and_runs_no_other_script(server: Server) -> None:
    status, text, headers = answer(server, "/")
    assert status == 200
    assert "http-equiv" not in text
    state = answer(server, "/-/state")[1]
    assert f'<script src="/-/reload.js" data-state="{state}" defer></script></head>' in text
    assert '<h2 id="changes">' in text
    assert text.index('id="changes"') < text.index('id="verdicts"')
    here = f"http://127.0.0.1:{server.server_port}"
    rules = dict(rule.split(" ", 1) for rule in headers["Content-Security-Policy"].split("; "))
    assert rules["default-src"] == "'none'"
    assert f"{here}/-/reload.js" in rules["script-src"]
    assert "unsafe" not in rules["script-src"]
    assert rules["frame-ancestors"] == "'none'"
    assert "location.reload()" in answer(server, "/-/reload.js")[1]


def test_the_state_is_another_one_after_a_build(server: Server, run: Path) -> None:
    before = answer(server, "/-/state")[1]
    assert answer(server, "/-/state")[1] == before
    (run / "manifest.json").write_text("[1]")
    assert answer(server, "/-/state")[1] != before


def test_a_document_is_shown_as_a_page(server: Server) -> None:
    _, text, headers = answer(server, "/docs/card.md")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<h1>A card</h1>" in text
    assert "&lt;script&gt;alert(1)" in text
    assert answer(server, "/docs/card.md", method="HEAD")[1] == ""


def test_a_folder_is_listed_without_links_and_hidden_files(server: Server) -> None:
    _, text, _ = answer(server, "/docs/")
    assert re.findall(r'<li><a href="([^#"]*)"', text) == [
        "card.md", "evil.html", "pipe", "two%20words.txt",
    ]  # fmt: skip
    assert answer(server, "/docs/two%20words.txt")[1] == "two"
    assert "linked" not in answer(server, "/./")[1]


def test_a_page_of_a_stranger_is_text(server: Server) -> None:
    _, text, headers = answer(server, "/docs/evil.html")
    assert text == "<script>alert(1)</script>"
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"].endswith("sandbox")


def built(run: Path, contents: dict[str, bytes]) -> None:
    """Record that a build made some files, as the engine records it."""
    state = StateFolder(run.parent)
    state.make()
    store = Store(state.store, state.scratch)
    rows = [{"path": path, "sha256": store.put(data)} for path, data in contents.items()]
    digest = store.put(files.json_bytes(rows))
    with closing(Ledger(state.ledger)) as ledger:
        trace = Trace((), {"manifest.json": digest}, {})
        RunLedger(ledger, run.name).record({}, "manifest:manifest", trace)


def package(layers: int, verdict: str, text: str, **more: bytes) -> dict[str, bytes]:
    summary = {
        "parameters": {"total": layers * 1000},
        "constraints": {verdict: [{"constraint": "memory_budget", "sentence": "2 GB"}]},
        "benchmarks": [{"benchmark": "b", "title": "loss", "sentence": "1.5"}],
    }
    return {
        "spec_resolved.yaml": f"description: {text}\nname: m\n".encode(),
        "blueprint/architecture.yaml": f"model: {{layers: {layers}}}\ndecisions: []\n".encode(),
        "docs/summary.json": json.dumps(summary).encode(),
        **more,
    }


def test_the_changes_are_those_since_the_package_before(run: Path) -> None:
    assert since_last(run) is None
    built(run, package(8, "met", "old", gone=b""))
    assert since_last(run) is None
    built(run, package(12, "violated", "<b>new</b>", come=b""))
    changes = since_last(run)
    assert changes is not None
    assert changes.values == {
        "Keys of the spec": (Change("description", "old", "<b>new</b>"),),
        "Dimensions and settings": (Change("model.layers", "8", "12"),),
        "Verdicts and results": (
            Change("parameters", "8,000", "12,000"),
            Change("memory budget", "met: 2 GB", "violated: 2 GB"),
        ),
    }
    assert changes.files == {
        "blueprint/architecture.yaml": "changed",
        "come": "new",
        "docs/summary.json": "changed",
        "gone": "removed",
        "spec_resolved.yaml": "changed",
    }


def test_the_page_shows_the_changes_as_text(server: Server, run: Path) -> None:
    built(run, package(8, "met", "old"))
    built(run, package(8, "met", "<b>new</b>"))
    text = answer(server, "/")[1]
    assert '<th scope="row">description</th><td>old</td><td>&lt;b&gt;new&lt;/b&gt;</td>' in text


def test_a_store_without_the_files_before_shows_no_changes(run: Path) -> None:
    built(run, package(8, "met", "old"))
    built(run, package(9, "met", "new"))
    shutil.rmtree(StateFolder(run.parent).store)
    assert since_last(run) is None


def test_a_save_is_seen_once_and_a_touch_is_none(tmp_path: Path) -> None:
    spec, ended = tmp_path / "spec.yaml", threading.Event()
    spec.write_text("a")
    seen = watch.contents([spec])
    spec.touch()
    threading.Timer(0.1, lambda: spec.write_text("b")).start()
    assert watch.next_save([spec], seen, ended) == [spec]
    threading.Timer(1.5, ended.set).start()
    assert watch.next_save([spec], seen, ended) == []


def test_a_spec_that_an_editor_replaces_is_waited_for(tmp_path: Path) -> None:
    spec, ended = tmp_path / "spec.yaml", threading.Event()
    seen = watch.contents([spec])
    threading.Timer(0.5, lambda: spec.write_text("b")).start()
    assert watch.next_save([spec], seen, ended) == [spec]


SPEC = "metagen_version: '1.0'\nname: m\nmodality: {inputs: [text], outputs: [text]}\n"


def started(folder: Path, *command: str) -> subprocess.Popen[str]:
    """Start a command whose lines go to `<its name>.txt`."""
    output = (folder / f"{command[0]}.txt").open("w")
    metagen = "import sys; sys.argv[0] = 'metagen'; from metagen.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-u", "-c", metagen, *command],
        cwd=folder, stdout=output, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def waited(file: Path, pattern: str, times: int = 1) -> str:
    """Return the text of a file once it has a pattern as often as this."""
    for _ in range(6000):
        text = file.read_text()
        if len(re.findall(pattern, text)) >= times:
            return text
        time.sleep(0.1)
    raise AssertionError(f"{pattern} is not in {file.read_text()}")


@pytest.mark.slow
@pytest.mark.ci
def test_a_watched_spec_is_built_at_each_save_and_seen_in_the_browser(tmp_path: Path) -> None:
    budget = "constraints: {parameter_budget: {max: %s}}\n"
    spec, said = tmp_path / "spec.yaml", tmp_path / "watch.txt"
    spec.write_text(SPEC + budget % "10M")
    watching = started(tmp_path, "watch", "spec.yaml", "--out", "out", "bench=none")
    waited(said, "Ctrl-C ends this")
    viewing = started(tmp_path, "view", "out/run-m")
    port = int(re.search(r":(\d+)/", waited(tmp_path / "view.txt", "Ctrl-C"))[1])  # type: ignore[index]

    def page(path: str) -> str:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as line:
            line.request("GET", path)
            return line.getresponse().read().decode()

    assert report.DOCUMENTS["docs/limitations.md"] in page("/")
    before = page("/-/state")
    spec.write_text(SPEC + budget % "none of it")
    assert "constraints.parameter_budget.max" in waited(said, "Ctrl-C ends this", 2)
    assert page("/-/state") == before
    spec.write_text(SPEC + budget % "5M")
    assert "10,000,000" not in waited(said, "Ctrl-C ends this", 3).rpartition("saved")[2]
    assert page("/-/state") != before
    changed = "constraints.parameter_budget.max</th><td>10,000,000</td><td>5,000,000</td>"
    assert changed in page("/")
    for process in (watching, viewing):
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    assert "Traceback" not in said.read_text() + (tmp_path / "view.txt").read_text()
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "out", "spec.yaml", "view.txt", "watch.txt",
    ]  # fmt: skip
