"""The documentation as a site, built offline, and the files that run the project elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from metagen import families
from metagen.docs import pages

LINK = re.compile(r"\]\(([^)]+\.md)\)")
REPOSITORY = Path(__file__).parent.parent


def test_the_start_page_names_every_page() -> None:
    docs = REPOSITORY / "docs"
    found = {page.relative_to(docs).as_posix() for page in docs.rglob("*.md")} - {"index.md"}
    of_families = {f"families/{name}.md" for name in families.FAMILIES}
    assert found - of_families == set(LINK.findall((docs / "index.md").read_text()))
    named = LINK.findall((docs / "families/gallery.md").read_text())
    assert of_families == {f"families/{name}" for name in named}


WRITTEN = (
    *REPOSITORY.glob("*.md"),
    *REPOSITORY.glob("docs/**/*.md"),
    REPOSITORY / "tests/README.md",
)


def headings(page: Path) -> set[str]:
    """Return the anchors of a page, as GitHub makes them."""
    found = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in found}


@pytest.mark.parametrize("page", WRITTEN, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_each_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        path, _, anchor = target.partition("#")
        if ":" not in path:
            there = page.parent / path if path else page
            assert there.exists(), target
            assert not anchor or anchor in headings(there), target


def test_the_pages_of_families_are_those_that_the_command_writes() -> None:
    written = pages.pages()
    found = {path.relative_to(REPOSITORY).as_posix() for path in REPOSITORY.glob("docs/families/*")}
    assert found == set(written)
    for path, text in written.items():
        assert (REPOSITORY / path).read_text() == text, "run `python -m metagen.docs.pages`"


def test_the_files_and_pictures_that_the_pages_of_families_name_are_there() -> None:
    shown = set()
    for page in (REPOSITORY / "docs/families").glob("*.md"):
        text = page.read_text()
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
            shown.add((page.parent / target).resolve())
        named = re.findall(r"`((?:specs|metagen|templates)/[^` ]+)`", text)
        assert all((REPOSITORY / each).exists() for each in named), page.name
        assert len(named) >= 4 or page.stem == pages.GALLERY, page.name
    pictures = set((REPOSITORY / "docs/images/families").iterdir())
    assert pictures == {path for path in shown if path.suffix == ".png"}
    assert max(path.stat().st_size for path in pictures) <= 60_000
    assert sum(path.stat().st_size for path in pictures) < 1_000_000


def test_hosted_ci_runs_what_ci_runs() -> None:
    job = yaml.safe_load((REPOSITORY / ".github/workflows/ci.yml").read_text())["jobs"]["ci"]
    assert job["steps"][-1] == {"run": "bash .ci/run"}
    assert job["steps"][0]["with"] == {"fetch-depth": 0}


def test_the_image_runs_the_demo() -> None:
    from metagen.cli import main

    lines = (REPOSITORY / "Dockerfile").read_text().splitlines()
    command = yaml.safe_load(lines[-1].removeprefix("CMD "))
    assert command[0] in main.commands
    # Kubernetes refuses a name where it must know that a user is not root.
    assert [line for line in lines if re.fullmatch(r"USER [1-9]\d*", line)]


@pytest.mark.slow
@pytest.mark.ci
def test_the_site_is_built_without_a_warning_and_requests_nothing(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="The extra `site` is not installed.")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        text = page.read_text()
        assert not re.search(r"<(script|img|iframe)[^>]*src=[\"']?(https?:)?//", text), page
        assert not re.search(r"<link[^>]*stylesheet[^>]*(https?:)?//", text), page
