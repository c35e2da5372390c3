"""A spec may come from a stranger: whatever its strings hold, nothing runs and nothing leaks.

Each text goes into every free-text key at once, the whole package is built, and the package is
read back by the real readers of its formats. A canary file would show that something ran, a canary
variable that the environment leaked.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from helpers.building import TINY, build, fake_measurements, tree
from helpers.turns import in_turn

from metagen import paths
from metagen.cli import main
from metagen.docs import drawing
from metagen.measure import sandbox
from metagen.spec import load

CANARY = "canary-was-here"
SECRET = "a-secret-of-the-environment"
TOUCH = f"__import__('pathlib').Path('{CANARY}').touch()"
TEXTS = {
    "docstring": f'"""\n{TOUCH}\n"""'.replace("\n", " "),
    "single quotes": f"''' ; {TOUCH} ; '''",
    "escape": f"\\'; {TOUCH} #",
    "f-string": f"{{{TOUCH}}}",
    "percent": "%(name)s %s %n",
    "jinja": "{{ ''.__class__.__mro__ }} {% for x in y %} {# no #}",
    "jinja for latex": "\\VAR{name} \\BLOCK{for x in y} ((* x *)) ((( y )))",
    "latex input": "\\input{/etc/passwd} \\include{../../x}",
    "latex write18": f"\\immediate\\write18{{touch {CANARY}}}",
    "latex end": "\\end{document} \\catcode`\\$=13 \\def\\x{\\x}\\x",
    "latex specials": "100% of $x_1 & y^2 #3 ~ {open }close \\ backslash",
    "latex url": "\\href{file:///etc/passwd}{click} \\url{javascript:alert(1)}",
    "bibtex": "@misc{x, title={y}} \\cite{nothing} \\bibliography{/etc/passwd}",
    "markdown heading": "# Injected heading",
    "markdown link": "[click](javascript:alert(1)) ![x](http://example.invalid/p.png)",
    "markdown fence": "``` ~~~ `code`",
    "markdown table": "a | b | c |",
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "html comment": "<!-- --> <!-- open",
    "front matter": "--- license: stolen",
    "yaml tag": "!!python/object/apply:os.system ['touch x']",
    "yaml flow": "}, {evil: true}, [",
    "yaml anchor": "&a *a <<: *b",
    "yaml comment": "value # comment",
    "shell": f"$(touch {CANARY}) `touch {CANARY}`; touch {CANARY} | cat && ls",
    "path": "../../../../etc/cron.d/x",
    "absolute path": "/etc/passwd",
    "home": "~/x ~root/x",
    "make": "$(shell touch x) $@ $<",
    "json": '", "evil": true, "x": "',
    "environment": "$METAGEN_CANARY %METAGEN_CANARY% ${METAGEN_CANARY}".replace("${", "$ {"),
    "emoji": "🦙 model 模型 модель ✓",
    "combining": "e\u0301\u0301\u0301 Z͑ͫ̓ͪ̂ͫ̽",
    "astral": "\U0001d544\U0001d556 \U00013000",
    "long word": "x" * 190,
    "dots": "..",
    "spaces": "a      b",
    "windows name": "CON",
    "leading dash": "--out=/tmp",
    "number": "0x1F",
    "boolean": "yes",
    "null word": "null",
    "quote soup": "'\"`\u00b4\u201c\u201d\u2018\u2019",
}
KEYS = ("name", "task.domain", "training.data.sources", "authors", "evaluation.benchmarks",
        "evaluation.baselines", "evaluation.metrics", "training.data.governance.pii",
        "training.data.governance.copyright", "training.alignment.policy", "description",
        "reproducibility.determinism", "version")  # fmt: skip
LISTS = {"training.data.sources", "authors", "evaluation.benchmarks", "evaluation.baselines",
         "evaluation.metrics"}  # fmt: skip


@pytest.fixture(autouse=True)
def _watched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sandbox, "run", fake_measurements)
    monkeypatch.setattr(drawing, "saved", no_figure)
    monkeypatch.setenv("METAGEN_CANARY", SECRET)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The package of the spec without hostile texts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sandbox, "run", fake_measurements)
        patch.setattr(drawing, "saved", no_figure)
        folder = tmp_path_factory.mktemp("plain")
        build(folder, TINY)
        return tree(folder)


def no_figure(*_: object) -> bytes:
    """Stand in for a figure: they print no text of a spec."""
    return b"no figure"


def spec_with(folder: Path, text: str) -> Path:
    """Write a spec that has a text in every free-text key."""
    content = yaml.safe_load(TINY.read_text())
    for key in KEYS:
        *parents, leaf = key.split(".")
        branch = content
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = [text] if key in LISTS else text
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True))
    return path


def nothing_happened(folder: Path) -> None:
    assert not list(folder.rglob(CANARY))
    inside = {p.name for p in folder.iterdir()}
    assert inside <= {"spec.yaml", "out"}, "nothing is written beside the out folder"


@pytest.mark.parametrize("kind", in_turn(TEXTS, "latex specials"))
def test_a_hostile_text_is_only_text(tmp_path: Path, plain: dict[str, bytes], kind: str) -> None:
    path = spec_with(tmp_path, TEXTS[kind])
    build(tmp_path / "out", path)
    check_package(tmp_path, path, plain)
    nothing_happened(tmp_path)


def check_package(folder: Path, path: Path, plain: dict[str, bytes]) -> None:
    made = tree(folder / "out")
    assert not [name for name, data in made.items() if SECRET.encode() in data]
    for name, data in made.items():
        inner = name.partition("/")[2]
        if inner.endswith(".py"):
            ast.parse(data)
            assert data == plain[f"run-text_llm_tiny/{inner}"], "no string of a spec reaches code"
        elif inner.endswith(".json"):
            json.loads(data)
        elif inner.endswith(".yaml"):
            yaml.safe_load(data)
        elif inner == "README.md":
            header = yaml.safe_load(data.decode().split("\n---\n")[0])
            assert header["license"] == "mit"
    resolved = next(p for p in made if p.endswith("spec_resolved.yaml"))
    assert load(folder / "out" / resolved).key("task.domain") == load(path).key("task.domain")


@pytest.mark.parametrize(
    "name", in_turn(["../../escape", "/absolute", "a/b", "..", "con\\x", "x" * 300])
)
def test_a_run_id_stays_in_the_out_folder(tmp_path: Path, name: str) -> None:
    done = CliRunner().invoke(
        main, ["synth", str(TINY), "--out", "out", "--run-id", name, "bench=none"]
    )
    assert done.exit_code == 0, done.output
    folders = [p.name for p in (tmp_path / "out").iterdir() if p.name != ".metagen"]
    assert folders == [f"run-{paths.slug(name)}"]
    assert "/" not in folders[0]
    nothing_happened(tmp_path)


def test_an_out_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("I am a file")
    done = CliRunner().invoke(main, ["synth", str(TINY), "--out", "out"])
    assert done.exit_code == 2
    assert (tmp_path / "out").read_text() == "I am a file"


@pytest.mark.parametrize(
    "value",
    ["${oc.env:METAGEN_CANARY}", "${env:METAGEN_CANARY}", "${oc.decode:'1'}", "${oc.create:x}"],
)
def test_no_resolver_is_called(tmp_path: Path, value: str) -> None:
    content = TINY.read_text().replace("text_llm_tiny\n", f'"{value}"\n', 1)
    (tmp_path / "spec.yaml").write_text(content)
    done = CliRunner().invoke(main, ["synth", "spec.yaml", "--out", "out"])
    assert done.exit_code == 2
    assert SECRET not in done.output
    assert not (tmp_path / "out").exists()
