"""A package with a snapshot is not built again, as long as nothing it was made from changed."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.building import TINY, fake_measurements
from helpers.cache_server import serving

from metagen.cli import main
from metagen.engine import workspace
from metagen.measure import sandbox

pytestmark = pytest.mark.usefixtures("figures_drawn_once")


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "run", fake_measurements)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a package once; each test has a copy of it."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sandbox, "run", fake_measurements)
        synth(Path(shutil.copy(TINY, folder / "spec.yaml")), folder / "out")
    return folder


@pytest.fixture
def out(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    time.sleep(0.1)
    synth(tmp_path / "spec.yaml", tmp_path / "out")
    assert unchanged(tmp_path / "out")
    return tmp_path / "out"


def synth(spec: Path, out: Path, *settings: str) -> str:
    told = CliRunner().invoke(main, ["synth", str(spec), "--out", str(out), *settings])
    assert told.exit_code == 0, told.output
    return told.output


def unchanged(out: Path, *overrides: str) -> bool:
    spec = out.parent / "spec.yaml"
    fingerprint = workspace.fingerprint((*overrides, None))
    return bool(workspace.unchanged(out, [spec], fingerprint, wait=False))


def test_an_unchanged_package_is_summed_up_as_it_was(out: Path) -> None:
    assert "0 tasks ran, 0 restored" in synth(out.parent / "spec.yaml", out)


def test_a_cache_is_not_asked_for_an_unchanged_package(out: Path) -> None:
    with serving() as server:
        synth(out.parent / "spec.yaml", out, "--cache", server.url)
        assert not server.asked
        synth(out.parent / "spec.yaml", out, "--cache", server.url, "license=gpl-3.0")
        assert server.asked


def test_an_edit_of_the_spec_outdates_the_snapshot(out: Path) -> None:
    spec = out.parent / "spec.yaml"
    spec.write_text(spec.read_text().replace("license: mit", "license: gpl-3.0"))
    assert not unchanged(out)
    assert "license mit -> gpl-3.0" in synth(spec, out)


def test_another_setting_outdates_the_snapshot(out: Path) -> None:
    assert not unchanged(out, "seed=7")


def test_an_edit_of_a_file_outdates_the_snapshot_even_at_the_same_size_and_time(out: Path) -> None:
    card = out / "run-text_llm_tiny" / "README.md"
    stat, data = card.stat(), card.read_bytes()
    card.write_bytes(data.replace(b"a", b"b"))
    os.utime(card, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert not unchanged(out)
    assert "README.md, kept" in synth(out.parent / "spec.yaml", out)


def test_a_deleted_file_outdates_the_snapshot(out: Path) -> None:
    (out / "run-text_llm_tiny" / "code" / "eval.py").unlink()
    assert not unchanged(out)


def test_a_build_with_other_settings_outdates_the_snapshot_of_the_former(out: Path) -> None:
    synth(out.parent / "spec.yaml", out, "license=gpl-3.0")
    assert not unchanged(out)


def test_another_version_of_a_library_outdates_the_snapshot(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "installed", lambda: {"torch": "0.0"})
    assert not unchanged(out)


def test_a_change_of_metagen_outdates_the_snapshot(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "_own_files", list)
    assert not unchanged(out)


def test_an_edited_package_has_no_snapshot(out: Path) -> None:
    card = out / "run-text_llm_tiny" / "README.md"
    card.write_text("mine")
    time.sleep(0.1)
    synth(out.parent / "spec.yaml", out)
    assert not unchanged(out)


def test_two_specs_for_one_folder_are_an_error_although_one_is_unchanged(out: Path) -> None:
    spec = out.parent / "spec.yaml"
    other = Path(shutil.copy(spec, out.parent / "other.yaml"))
    told = CliRunner().invoke(main, ["synth", str(spec), str(other), "--out", str(out)])
    assert told.exit_code == 2
    assert "would both be built in run-text_llm_tiny" in told.output
