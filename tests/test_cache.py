"""A cache that out folders share, in a folder or on a server: a fault costs work, no more."""

from __future__ import annotations

import base64
import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.cache_server import FAULTS, PUT_FAULTS, CacheServer, serving
from helpers.toy import Out

from metagen import files
from metagen.cli import main
from metagen.engine import remote
from metagen.engine.cache import Shared
from metagen.errors import UsageError

KEY = b"k" * 32
NAMES = ["upper", "length", "report"]
CLEAN = {"a.txt": b"HELLO", "b.txt": b"5", "docs/c.txt": b"5 of size 1"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CacheServer]:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(remote, "SILENCE", 0.5)
    monkeypatch.setattr(remote, "WHOLE", 0.9)
    monkeypatch.setattr(remote, "_OUTPUT", 4 << 20)
    monkeypatch.setattr(remote, "_ENTRY", 4 << 20)
    with serving() as made:
        yield made


def uploading(server: CacheServer, key: bytes = b"") -> Shared:
    return Shared(server.url, uploads=True, key=key)


def filled(server: CacheServer, folder: Path, key: bytes = b"") -> None:
    ran, _ = Out(folder / "first", uploading(server, key)).build()
    assert ran == NAMES
    server.asked.clear()


@pytest.mark.parametrize("kind", ["folder", "server"])
def test_another_machine_runs_nothing(kind: str, tmp_path: Path, server: CacheServer) -> None:
    shared = Shared(str(tmp_path / "cache")) if kind == "folder" else uploading(server)
    first, second = Out(tmp_path / "first", shared), Out(tmp_path / "second", shared)
    assert first.build()[0] == NAMES
    assert second.build()[0] == []
    assert second.tree() == first.tree() == CLEAN
    assert second.build(text="other")[0] == ["upper", "length"]
    assert Out(tmp_path / "third", shared).build(text="other")[0] == []
    assert not second.warnings


def test_a_server_is_only_read_unless_uploads_are_requested(
    tmp_path: Path, server: CacheServer
) -> None:
    out = Out(tmp_path / "out", Shared(server.url))
    assert out.build()[0] == NAMES
    assert {method for method, _ in server.asked} == {"GET"}
    assert not server.content


def test_what_is_current_is_not_asked_for(tmp_path: Path, server: CacheServer) -> None:
    out = Out(tmp_path / "out", uploading(server))
    out.build()
    server.asked.clear()
    assert out.build()[0] == []
    assert not server.asked


def test_nothing_is_asked_or_sent_twice(tmp_path: Path, server: CacheServer) -> None:
    filled(server, tmp_path)
    second = Out(tmp_path / "second", uploading(server))
    second.build()
    assert len(server.asked) == len(set(server.asked)) == 9  # a list, a run and an output each
    server.asked.clear()
    second.build(size=2)
    sent = [path for method, path in server.asked if method == "PUT" and "/cas/" in path]
    assert sent == [f"/pool/cas/{files.sha256(b'5 of size 2')}"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_any_request_costs_only_work(
    fault: str, tmp_path: Path, server: CacheServer
) -> None:
    filled(server, tmp_path)
    for number in range(1, 10):
        server.asked.clear()
        server.plan = lambda n, *_, number=number: fault if n == number else ""
        out = Out(tmp_path / f"out{number}", Shared(server.url))
        ran, _ = out.build()
        assert out.tree() == CLEAN
        # A connection that ends between two requests, and an entry without a right mark, are none.
        quiet = fault == "404" or (fault in ("dropped", "foreign") and not out.warnings)
        assert len(out.warnings) == (not quiet)
        server.plan = lambda *_: ""
        assert out.build()[0] == []
        slow = fault in ("silent", "drip")
        assert len(ran) == (3 - (number - 1) // 3 if slow else len(ran))
        assert len(ran) <= (3 if slow else 1)


@pytest.mark.parametrize("fault", PUT_FAULTS)
def test_a_fault_at_any_upload_costs_only_work(
    fault: str, tmp_path: Path, server: CacheServer
) -> None:
    for number in (1, 2, 3, 5, 8):
        server.content.clear()
        server.asked.clear()
        server.plan = lambda n, *_, number=number: fault if n == number else ""
        for name in ("one", "two"):
            out = Out(tmp_path / f"{name}{number}", uploading(server))
            out.build()
            assert out.tree() == CLEAN
            assert len(out.warnings) <= 1
        server.plan = lambda *_: ""
        assert Out(tmp_path / f"last{number}", uploading(server)).build()[0] == []


@pytest.mark.parametrize("seed", range(4))
def test_many_faults_in_many_builds_cost_only_work(
    seed: int, tmp_path: Path, server: CacheServer
) -> None:
    chance = random.Random(seed)
    rapid = [fault for fault in {*FAULTS, *PUT_FAULTS} if fault not in ("silent", "drip")]

    def plan(number: int, method: str, path: str) -> str:
        usable = [f for f in rapid if f in (FAULTS if method == "GET" else PUT_FAULTS)]
        return chance.choice(sorted(usable)) if chance.random() < 0.3 else ""

    server.plan = plan
    for number in range(8):
        text, size = chance.choice(("hello", "other", "a")), chance.randrange(3)
        out = Out(tmp_path / f"out{number}", uploading(server, KEY if seed % 2 else b""))
        out.build(text=text, size=size)
        length = str(len(text)).encode()
        expected = {"a.txt": text.upper().encode(), "b.txt": length}
        assert out.tree() == expected | {"docs/c.txt": length + b" of size %d" % size}
        assert len(out.warnings) <= 1


def test_a_dead_server_is_asked_once(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://user:secret@127.0.0.1:{closed.getsockname()[1]}/"
    out = Out(tmp_path / "out", Shared(url, uploads=True))
    assert out.build()[0] == NAMES
    (warning,) = out.warnings
    assert "cannot be reached" in warning.sentence
    assert "this build asks it no more" in warning.sentence
    assert "secret" not in str(warning)


def test_a_failing_server_is_asked_a_few_times(tmp_path: Path, server: CacheServer) -> None:
    server.plan = lambda *_: "500"
    out = Out(tmp_path / "out", uploading(server))
    assert out.build()[0] == NAMES
    assert len(server.asked) == remote.FAULTS
    (warning,) = out.warnings
    assert "status 500" in warning.sentence


def test_a_connection_that_was_idle_too_long_is_opened_again(
    tmp_path: Path, server: CacheServer
) -> None:
    filled(server, tmp_path)
    server.plan = lambda n, *_: "dropped" if n == 4 else ""
    out = Out(tmp_path / "out", Shared(server.url))
    assert out.build()[0] == []
    assert not out.warnings


def test_a_redirect_leads_nowhere(tmp_path: Path, server: CacheServer) -> None:
    with serving() as other:
        filled(other, tmp_path)
        server.plan = lambda *_: "302"
        out = Out(tmp_path / "out", Shared(server.url))
        assert out.build()[0] == NAMES
        assert not other.asked


def test_a_server_may_ask_for_a_password(tmp_path: Path, server: CacheServer) -> None:
    server.password = "me:p@ss:word"
    named = replace(uploading(server), place=server.url.replace("://", "://me:p%40ss%3Aword@"))
    assert Out(tmp_path / "one", named).build()[0] == NAMES
    assert Out(tmp_path / "two", named).build()[0] == []
    refused = Out(tmp_path / "three", Shared(server.url))
    assert refused.build()[0] == NAMES
    assert "status 401" in refused.warnings[0].sentence


@pytest.mark.parametrize("kind", ["folder", "server"])
def test_only_what_is_signed_by_the_key_is_believed(
    kind: str, tmp_path: Path, server: CacheServer
) -> None:
    place = str(tmp_path / "cache") if kind == "folder" else server.url
    unsigned, signed = (Shared(place, True, key) for key in (b"", KEY))
    assert Out(tmp_path / "unsigned", unsigned).build()[0] == NAMES
    assert Out(tmp_path / "other key", Shared(place, True, b"o" * 32)).build()[0] == NAMES
    assert Out(tmp_path / "signed", signed).build()[0] == NAMES
    assert Out(tmp_path / "again", signed).build()[0] == []
    assert Out(tmp_path / "without", unsigned).build()[0] == NAMES


def forge(body: bytes) -> bytes:
    """Return an `ActionResult` whose run claims another output, with a right mark of its text."""
    content = json.loads(body)
    _, _, text = base64.b64decode(content["stdoutRaw"]).decode().partition("\n")
    text = text.replace(files.sha256(b"HELLO"), files.sha256(b"FORGED"))
    entry = f"{files.sha256(text.encode())}\n{text}".encode()
    return files.canonical(content | {"stdoutRaw": base64.b64encode(entry).decode()}).encode()


@pytest.mark.parametrize(("key", "found"), [(b"", b"FORGED"), (KEY, b"HELLO")])
def test_a_key_keeps_out_what_a_stranger_adds(
    key: bytes, found: bytes, tmp_path: Path, server: CacheServer
) -> None:
    filled(server, tmp_path, key)
    for path, body in list(server.content.items()):
        if "/ac/" in path and b'"path":"a.txt"' in body:
            server.content[path] = forge(body)
    server.content[f"/pool/cas/{files.sha256(b'FORGED')}"] = b"FORGED"
    out = Out(tmp_path / "out", uploading(server, key))
    out.build()
    assert out.tree()["a.txt"] == found


def test_a_signed_run_counts_at_its_own_address_only(tmp_path: Path, server: CacheServer) -> None:
    filled(server, tmp_path, KEY)
    before = dict(server.content)
    Out(tmp_path / "other", uploading(server, KEY)).build(text="other")
    new = [path for path in server.content if "/ac/" in path and path not in before]
    old = [path for path in before if "/ac/" in path]
    for path in old:
        for moved in new:
            server.content[path] = server.content[moved]
            out = Out(tmp_path / f"out{path[-6:]}{moved[-6:]}", uploading(server, KEY))
            out.build()
            assert out.tree() == CLEAN
        server.content[path] = before[path]


def test_a_list_that_another_build_lost_is_added_again(tmp_path: Path, server: CacheServer) -> None:
    filled(server, tmp_path)
    lists = [path for path, body in server.content.items() if b'"outputFiles":[]' in body]
    assert len(lists) == 3
    for path in lists:
        del server.content[path]
    assert Out(tmp_path / "two", uploading(server)).build(text="other!")[0] == NAMES
    assert Out(tmp_path / "three", uploading(server)).build()[0] == []


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "a/../../b", "a\0b"])
def test_a_list_of_a_stranger_names_nothing_outside_the_package(
    name: str, tmp_path: Path, server: CacheServer
) -> None:
    filled(server, tmp_path)
    asked: list[tuple[str, str]] = []
    text = files.canonical([["file", name]])
    entry = files.canonical([f"{files.sha256(text.encode())}\n{text}"])
    from metagen.engine.cache import Cache

    server.content[f"/pool/ac/{remote._key(['t' * 64])}"] = remote._result(entry, {})
    cache = Cache(remote.Server(server.url, writes=False, warn=lambda problems: None))

    def current(*read: str) -> str:
        asked.append(read)  # type: ignore[arg-type]
        return "digest"

    assert cache.find("t" * 64, current) is None
    assert not asked


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://host:x/",
        "http://host/?q",
        "http://ho st/",
        "https://host/é",
        "s3://bucket",
    ],
)
def test_a_malformed_url_is_refused(url: str, tmp_path: Path) -> None:
    told = CliRunner().invoke(
        main, ["synth", "specs/text/text_llm_tiny.yaml", "--out", str(tmp_path), "--cache", url]
    )
    assert told.exit_code == 2
    assert "--cache" in told.output
    assert not Path(url.partition("/")[0]).exists()


def test_a_key_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("", "short"):
        monkeypatch.setenv("METAGEN_CACHE_KEY", key)
        with pytest.raises(UsageError, match="at least 16 characters"):
            Shared.of("cache")
    monkeypatch.setenv("METAGEN_CACHE_KEY", KEY.decode())
    shared = Shared.of("cache")
    assert shared
    assert shared.key == KEY


def test_a_server_is_not_shrunk(tmp_path: Path) -> None:
    told = CliRunner().invoke(main, ["gc", "--cache", "http://cache.example"])
    assert told.exit_code == 2
    assert "removes its entries itself" in told.output


def test_a_build_beside_a_folder_imports_nothing_of_http() -> None:
    code = (
        "import sys, metagen.cli, metagen.engine.doors, metagen.engine.session;"
        "print([m for m in ('http.client', 'ssl', 'metagen.engine.remote') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
