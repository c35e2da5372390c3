"""The paper compiles, is the same each time, and prints a stranger's text as text."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers import docs_fixtures as sample
from helpers.docs_strangers import EMPTY, HOSTILE, infected, untraced
from helpers.turns import in_turn

from metagen import families, paths
from metagen.docs import RECIPES, content, drawing, escape, figures, latex, paper, render
from metagen.docs.facts import Facts
from metagen.errors import TaskError
from metagen.sizing import training

tex = pytest.mark.skipif(not all(map(shutil.which, paper.PROGRAMS)), reason="TeX is not installed")

FORMS = (escape.latex, escape.latex_code, escape.pdf_string)
PAGES = ("main.tex", *(f"sections/{name}.tex" for name in paper.SECTIONS))
# Where a template of LaTeX may hold a numeral: lengths, switches, encodings, equations.
MARKUP = re.compile(
    r"\\begin\{(equation|align|gather|pmatrix)\}.*?\\end\{\1\}"
    r"|\d[\d.]*(?:em|cm|pt|\\linewidth)|^\\documentclass\[[^\]]*\]|^\\pdf\w+=-?1$"
    r"|\\(?:label|ref|cite[tp])\{[^}]*\}|\\multicolumn\{\d\}"
    r"|row / \"sha256\"|equals\((?:\"[\w.]+\"|row / \"computed\"), [01](?:\.0)?\)",
    re.DOTALL | re.MULTILINE,
)
# Names and indices, such as bf16, x_0 and y^2.
NAMES = re.compile(r"[A-Za-z]\w*\d|[_^]\{?\d|\\mathbf\{0\}")
FORMULA = re.compile(r"\$[^$]*\$")
PLAIN = re.compile(r"(?<![\d.])[012](?![\d.])")  # what any formula may need


def project(desk: sample.FakeDesk, **drawn: bytes) -> sample.FakeDesk:
    """Return the desk with the paper's files on it; `drawn` are figures that need no drawing."""
    desk.files.update(drawn)
    for recipe in paper.RECIPES:
        if recipe.work is not paper.references and not drawn.keys() & set(recipe.targets):
            desk.files.update(recipe.work(desk))
    desk.files.update(paper.references(desk))
    return desk


def written(desk: sample.FakeDesk, folder: Path) -> Path:
    for path in latex.INPUTS:
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(desk.files[path])
    return folder / "paper"


@pytest.fixture(scope="module")
def clean() -> sample.FakeDesk:
    return project(sample.desk())


@pytest.fixture(scope="module")
def drawn(clean) -> dict[str, bytes]:
    return {path: data for path, data in clean.files.items() if path.startswith("paper/figures/")}


@pytest.fixture(scope="module")
def compiled(clean) -> latex.Compiled:
    return latex.compiled(clean)


@pytest.mark.parametrize("name", PAGES)
def test_each_numeral_of_the_paper_is_a_printed_fact(name):
    made = render.latex(sample.desk(), f"paper/{name}")
    assert untraced(MARKUP.sub(_without_facts, made.text), made.printed, FORMS) == []


def _without_facts(match: re.Match[str]) -> str:
    return "" if re.search(r"\d", match[0]) else match[0]


@pytest.mark.parametrize(
    "path",
    sorted(paths.templates().rglob("*.tex")),
    ids=lambda path: str(path.relative_to(paths.templates())),
)
def test_no_numeral_is_typed_into_a_paper_template(path):
    text = FORMULA.sub(lambda found: PLAIN.sub("", found[0]), MARKUP.sub("", path.read_text()))
    assert re.findall(r".*\d.*", NAMES.sub("", text)) == []


def test_no_fact_touches_the_name_of_a_command():
    for path in paths.templates().rglob("*.tex"):
        assert not re.search(r"\\[A-Za-z]+\\VAR", path.read_text()), path


def cited(text: str) -> set[str]:
    return {key for keys in re.findall(r"\\cite[tp]?\{([^}]*)\}", text) for key in keys.split(",")}


def entries(bib: str) -> set[str]:
    return set(re.findall(r"^@\w+\{(\w+),", bib, re.MULTILINE))


def test_what_the_sections_cite_is_in_the_bibliography_and_nothing_there_is_idle(clean):
    text = "".join(data.decode() for path, data in clean.files.items() if path.endswith(".tex"))
    assert cited(text) == entries(clean.files["paper/bibliography.bib"].decode())
    assert {"attention", "rope", "gqa", "swiglu", "rmsnorm", "adamw"} <= cited(text)


def of_cards(value):
    """Yield the works that a file of the cards names, at any depth."""
    if isinstance(value, dict):
        yield from value.get("cites") or ()
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, (dict, list)):
            yield from of_cards(each)


def test_each_known_entry_is_cited_by_some_family():
    folder = paths.templates()
    text = "".join(path.read_text() for path in folder.rglob("*.tex"))
    keys = {key for key in cited(text) if "\\" not in key} | set(training.CITES)
    for path in folder.rglob("*.yaml"):
        keys |= set(of_cards(yaml.safe_load(path.read_text())))
    for table in paths.source("data/devices.csv").parent.glob("*.csv"):
        with table.open(newline="") as stream:
            keys |= {row["cite"] for row in csv.DictReader(stream) if row.get("cite")}
    assert keys == entries((folder / "paper/bibliography.bib").read_text())


FEWEST = 6  # related works of a family


@pytest.mark.parametrize("name", sorted(families.FAMILIES))
def test_each_family_names_related_work_that_is_in_the_bibliography(name):
    folder = paths.templates() / "families" / (families.named(name).folder or name)
    path = folder / "related.tex"
    assert path.is_file(), f"write {path}: the works that a model of {name} follows"
    text = path.read_text()
    for other in re.findall(r'include "(families/\w+/related.tex)"', text):
        text += (paths.templates() / other).read_text()
    assert len(cited(text)) >= FEWEST
    assert cited(text) <= entries((paths.templates() / "paper/bibliography.bib").read_text())


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_string_leaves_no_markup_in_latex(text):
    made = str(escape.latex(text))
    commands = set(re.findall(r"\\[A-Za-z]+", made))
    assert not commands & {r"\input", r"\write", r"\VAR", r"\include", r"\immediate"}
    assert not re.search(r"(?<!\\)[$%&#_^~]", made.replace("~", "", made.count("\xa0")))


@tex
def test_the_paper_has_no_undefined_reference_and_no_box_that_sticks_out(compiled):
    assert compiled.pdf.startswith(b"%PDF")
    assert latex.flaws(compiled.log) == []


@tex
@pytest.mark.skipif(not shutil.which("pdftoppm"), reason="poppler is not installed")
def test_no_page_but_the_last_is_a_third_empty(compiled, tmp_path):
    (tmp_path / "main.pdf").write_bytes(compiled.pdf)
    command = ["pdftoppm", "-r", "20", "-gray", "main.pdf", "page"]
    subprocess.run(command, cwd=tmp_path, check=True)
    pages = sorted(tmp_path.glob("page-*.pgm"))
    assert len(pages) >= 4
    for page in pages[:-1]:
        for column in columns(page.read_bytes()):
            inked = [min(row) < 200 for row in column]
            end = len(inked) - inked[::-1].index(True)
            assert end > 0.67 * len(column), page.name


def columns(pgm):
    """Return the two columns of a page without its number, as rows of grey values."""
    _, size, _, data = pgm.split(b"\n", 3)
    width, height = map(int, size.split())
    rows = [data[y * width : (y + 1) * width] for y in range(int(0.92 * height))]
    return [row[: width // 2] for row in rows], [row[width // 2 :] for row in rows]


@tex
@pytest.mark.skipif(not shutil.which("pdfinfo"), reason="poppler is not installed")
def test_the_pdf_names_itself_its_authors_and_its_subject(drawn, tmp_path):
    keys = {"name": "server_30B / long context", "authors": ("Ada Müller", "José Ñ")}
    made = latex.compiled(project(sample.desk(keys), **drawn))
    (tmp_path / "main.pdf").write_bytes(made.pdf)
    told = subprocess.run(["pdfinfo", tmp_path / "main.pdf"], capture_output=True, text=True).stdout
    said = dict(re.split(r":\s*", line, maxsplit=1) for line in told.splitlines())
    assert said["Title"] == "server_30B / long context"
    assert said["Author"] == "Ada Muller, Jose N"
    assert "language model" in said["Subject"]
    assert said["Keywords"]


@tex
def test_the_pdf_is_the_same_bytes_again(clean, compiled, monkeypatch):
    monkeypatch.setenv("TZ", "Pacific/Apia")
    monkeypatch.setenv("TEXINPUTS", "/nowhere//:")
    assert latex.pdf(clean) == {"paper/main.pdf": compiled.pdf}


@tex
@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_pdf_gives_the_bytes_of_the_build_whatever_the_users_settings_are(
    clean, compiled, tmp_path
):
    folder = written(clean, tmp_path)
    (tmp_path / ".latexmkrc").write_text("die 'read';")
    (folder / "latexmkrc").write_text("die 'read';")
    environment = os.environ | {"HOME": str(tmp_path), "TEXMFHOME": str(tmp_path)}
    make = ["make", "-s", "pdf"]
    subprocess.run(make, cwd=folder, env=environment, check=True, capture_output=True)
    assert (folder / "main.pdf").read_bytes() == compiled.pdf
    (folder / "latexmkrc").unlink()
    subprocess.run(["make", "-s", "clean"], cwd=folder, check=True)
    assert sorted(path.name for path in folder.iterdir()) == [
        *("Makefile", "bibliography.bib", "figures", "main.tex", "report.sty", "sections"),
    ]


LITERAL = r"\input{/etc/passwd} \write18{id} a_b $x$ 100% A&B {} ~ ^ -- << # \VAR{x}"


@tex
@pytest.mark.parametrize("text", in_turn([LITERAL, "wide" * 150, " ".join(HOSTILE[2:])[:590]]))
def test_a_paper_full_of_hostile_strings_compiles_and_shows_them(text, drawn, tmp_path):
    made = latex.compiled(project(infected(text), **drawn))
    assert latex.flaws(made.log) == []
    assert not re.search(r"\(\S*passwd", made.log)
    (tmp_path / "main.pdf").write_bytes(made.pdf)
    assert text is not LITERAL or re.sub(r"\s", "", text) in shown(tmp_path / "main.pdf")


def shown(pdf: Path) -> str:
    """Return the text of a PDF without spaces."""
    if not shutil.which("pdftotext"):
        pytest.skip("the paper compiles; pdftotext, to read it, is not installed")
    text = subprocess.run(["pdftotext", pdf, "-"], capture_output=True, text=True, check=True)
    return re.sub(r"\s", "", text.stdout)


@tex
def test_every_character_that_is_set_as_itself_compiles(drawn):
    letters = "".join(chr(c) for c in range(0x20, 0x2300) if escape.TYPESET.match(chr(c)))
    assert len(letters) > 300
    made = latex.compiled(project(sample.desk({"description": letters}), **drawn))
    assert latex.flaws(made.log) == []


@pytest.mark.parametrize("name", ["abstract", "limitations", "reproducibility", "evaluation"])
def test_a_paper_without_a_trained_proxy_mentions_no_training(name):
    desk = sample.desk(results=[], curve="step,train_loss,val_loss,learning_rate\n")
    training = re.compile(
        r"We trained a|after a short training|trained (once|and|for \d)|(?<!No )training run"
    )
    assert not training.search(render.latex(desk, f"paper/sections/{name}.tex").text)
    assert training.search(render.latex(sample.desk(), f"paper/sections/{name}.tex").text)


@tex
def test_the_paper_of_the_barest_spec_compiles():
    desk = sample.desk(EMPTY, results=[], curve="step,train_loss,val_loss,learning_rate\n")
    assert latex.flaws(latex.compiled(project(desk)).log) == []


@tex
def test_an_error_of_latex_names_its_file_and_line(clean):
    desk = sample.FakeDesk(dict(clean.files), clean.keys)
    desk.files["paper/sections/training.tex"] += b"\n\\nosuchcommand\n"
    with pytest.raises(TaskError, match=r"paper/sections/training.tex:\d+: LaTeX: Undefined"):
        latex.pdf(desk)


@tex
def test_a_missing_package_says_what_to_install(clean):
    desk = sample.FakeDesk(dict(clean.files), clean.keys)
    desk.files["paper/main.tex"] = (
        b"\\documentclass{article}\n\\usepackage{nosuch}\n\\begin{document}\\end{document}\n"
    )
    with pytest.raises(TaskError, match=r"nosuch.sty' not found(?s:.*)texlive-latex-recommended"):
        latex.pdf(desk)


def test_without_tex_one_sentence_says_what_to_install(clean, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TaskError) as caught:
        latex.pdf(clean)
    sentence = str(caught.value)
    assert "\n" not in sentence
    for package in ("latexmk", "texlive-latex-recommended", "texlive-fonts-recommended"):
        assert package in sentence


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_pdf_without_tex_says_the_same_sentence(clean, tmp_path):
    folder = written(clean, tmp_path)
    (tmp_path / "bin").mkdir()
    for program in ("make", "sh"):
        (tmp_path / "bin" / program).symlink_to(shutil.which(program))
    command = [tmp_path / "bin" / "make", "pdf"]
    environment = {"PATH": str(tmp_path / "bin")}
    made = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert made.returncode != 0
    assert made.stderr.splitlines()[0] == paper.MISSING_TEX


def test_flaws_are_found_in_a_log():
    log = (
        "LaTeX Warning: Reference `fig:x' on page 1 undefined on input line 3.\n"
        "Package natbib Warning: Citation `y' on page 1 undefined on input line 4.\n"
        "Overfull \\hbox (4.9pt too wide) in paragraph at lines 1--2\n"
        "Overfull \\hbox (5.1pt too wide) in paragraph at lines 3--4\n"
    )
    assert [flaw.split()[0] for flaw in latex.flaws(log)] == ["LaTeX", "Package", "Overfull"]
    assert "5.1pt" in latex.flaws(log)[2]


@pytest.mark.parametrize("recipe", in_turn(figures.RECIPES), ids=lambda recipe: recipe.name)
def test_a_figure_is_the_same_bytes_whatever_the_users_settings_are(recipe, tmp_path, clean):
    (tmp_path / "matplotlibrc").write_text("font.size: 30\naxes.facecolor: red\n")
    code = (
        "import sys\nfrom helpers import docs_fixtures as s\nfrom metagen.docs import figures\n"
        f"recipe = figures.RECIPES[{figures.RECIPES.index(recipe)}]\n"
        "sys.stdout.buffer.write(next(iter(recipe.work(s.desk()).values())))\n"
    )
    search = f"{Path(__file__).parent}:{paths.PACKAGE.parent}"
    environment = os.environ | {
        "MATPLOTLIBRC": str(tmp_path),
        "PYTHONHASHSEED": "7",
        "TZ": "Pacific/Apia",
        "SOURCE_DATE_EPOCH": "86400",
        "PYTHONPATH": search,
    }
    made = subprocess.run([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
    assert made.stdout == clean.files[recipe.targets[0]]


def test_each_figure_is_said_in_words():
    facts = Facts(sample.desk())
    every = (*RECIPES, *figures.OF_THE_TRAINED, *figures.OF_ABLATIONS)
    drawn = {target for recipe in every for target in recipe.targets}
    names = {path[13:-4] for path in drawn if path.startswith("docs/figures/")}
    assert names == set(content.TEXTS)
    for name in sorted(names):
        said = facts.text(f"derived.alt_{name}")
        assert re.fullmatch(r"[A-Z][^\n]+\.", said), said


def test_figures_for_pages_are_wide_and_undated(clean):
    svg = clean.files["docs/figures/cost.svg"].decode()
    assert f'width="{72 * drawing.WIDE:g}pt"' in svg
    assert not re.search(r"<dc:(date|creator)>", svg)


def test_a_paper_describes_local_layers_only_where_the_model_has_them(clean):
    path = "paper/sections/architecture.tex"
    plain = clean.files[path].decode()
    assert "local layer" not in plain
    assert "Each layer sees and caches all tokens." in plain
    arch = yaml.safe_load(clean.files["blueprint/architecture.yaml"])
    for model in (arch["model"], arch["proxy"]["model"]):
        model |= {"window": 4096, "global_every": 4}
    desk = sample.desk(architecture=arch)
    (section,) = (r for r in paper.RECIPES if path in r.targets)
    assert "A local layer sees and caches only the newest" in section.work(desk)[path].decode()
