"""The paper compiles, is the same each time, and prints a stranger's text as text."""

from __future__ import annotations

import csv
import itertools
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
import yaml
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from helpers import docs_fixtures as sample
from helpers.docs_strangers import EMPTY, HOSTILE, infected, untraced
from helpers.fake_desk import FakeDesk
from helpers.pages import filled
from helpers.turns import in_turn
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from metagen import families, fonts, paths
from metagen.docs import (
    RECIPES,
    content,
    diagram,
    directions,
    drawing,
    escape,
    figures,
    latex,
    letters,
    modules,
    paper,
    render,
)
from metagen.docs.facts import Facts
from metagen.errors import TaskError
from metagen.sizing import training
from metagen.trained import forecast

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


def project(desk: FakeDesk, **drawn: bytes) -> FakeDesk:
    """Return the desk with the paper's files on it; `drawn` are figures that need no drawing."""
    desk.files.update(drawn)
    for recipe in paper.RECIPES:
        if recipe.work is not paper.references and not drawn.keys() & set(recipe.targets):
            desk.files.update(recipe.work(desk))
    desk.files.update(paper.references(desk))
    return desk


def written(desk: FakeDesk, folder: Path) -> Path:
    for path in latex.INPUTS:
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(desk.files[path])
    return folder / "paper"


@pytest.fixture(scope="module")
def clean() -> FakeDesk:
    return project(sample.desk())


@pytest.fixture(scope="module")
def drawn(clean) -> dict[str, bytes]:
    return {path: data for path, data in clean.files.items() if path.startswith("paper/figures/")}


@pytest.fixture(scope="module")
def compiled(clean) -> latex.Compiled:
    """The paper, compiled where the variables of a user would change it if they counted."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("TZ", "Pacific/Apia")
        changed.setenv("TEXINPUTS", "/nowhere//:")
        return latex.compiled(clean, latex.INPUTS)


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


def test_the_paper_has_the_declared_date_or_none():
    dated = sample.desk({"release.date": "2026-03-14"})
    assert r"\date{Technical report, version 1.0.0, 2026-03-14}" in title(dated)
    assert r"\date{Technical report, version 1.0.0}" in title(sample.desk())


def title(desk: FakeDesk) -> str:
    return render.latex(desk, "paper/main.tex").text


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
    keys |= set(forecast.CITES)
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
    *pages, _ = filled(compiled.pdf, tmp_path)
    assert len(pages) >= 3
    assert [page for page, ends in enumerate(pages, 1) if min(ends) < 0.67] == []


@tex
@pytest.mark.slow
@pytest.mark.ci
def test_the_pdf_is_the_same_bytes_again(clean, compiled):
    assert latex.recipe().work(clean) == {"paper/main.pdf": compiled.pdf}


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
        *("Makefile", "bibliography.bib", "figures", "letters.sty", "main.tex"),
        *("report.sty", "sections"),
    ]


LITERAL = r"\input{/etc/passwd} \write18{id} a_b $x$ 100% A&B {} ~ ^ -- << # \VAR{x}"


@tex
@pytest.mark.parametrize("text", in_turn([LITERAL, "wide" * 150, " ".join(HOSTILE[2:])[:590]]))
def test_a_paper_full_of_hostile_strings_compiles_and_shows_them(text, drawn, tmp_path):
    made = latex.compiled(project(infected(text), **drawn), latex.INPUTS)
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


AUTHORS = (
    *("Ada Müller", "José Ñ"),
    *("Анна Жук", "Παύλος Ἀγαθός", "Xiǎomíng Lǐ", "Nguyễn Thị Ánh", "∀x∈ℝ ∑∫√"),  # noqa: RUF001
)
NAME = "Модель_30B / long context"
CHINESE, HINDI = "王小明", "हिन्दी"
LETTERS = "".join(chr(c) for c in range(0x20, 0x2300) if escape.TYPESET.match(chr(c)))


@pytest.fixture(scope="module")
def of_many_letters(drawn) -> latex.Compiled:
    """A paper whose name and authors are in several scripts, with each letter set as itself."""
    keys = {"name": NAME, "authors": AUTHORS, "description": LETTERS}
    return latex.compiled(project(sample.desk(keys), **drawn), latex.INPUTS)


@tex
def test_every_character_that_is_set_as_itself_compiles(of_many_letters):
    assert len(LETTERS) > 250
    assert latex.flaws(of_many_letters.log) == []


@tex
@pytest.mark.skipif(not shutil.which("pdfinfo"), reason="poppler is not installed")
def test_the_pdf_names_itself_its_authors_and_its_subject(of_many_letters, tmp_path):
    (tmp_path / "main.pdf").write_bytes(of_many_letters.pdf)
    told = subprocess.run(["pdfinfo", tmp_path / "main.pdf"], capture_output=True, text=True).stdout
    said = dict(re.split(r":\s*", line, maxsplit=1) for line in told.splitlines())
    assert said["Title"] == NAME
    assert said["Author"] == ", ".join(AUTHORS)
    assert "language model" in said["Subject"]
    assert said["Keywords"]


@tex
def test_letters_of_other_scripts_are_shown_and_found(of_many_letters, tmp_path):
    (tmp_path / "main.pdf").write_bytes(of_many_letters.pdf)
    text = unicodedata.normalize("NFC", shown(tmp_path / "main.pdf"))
    for author in AUTHORS:
        assert author.replace(" ", "") in text


@tex
def test_a_letter_without_a_font_is_a_code_point_and_the_paper_says_so(
    drawn, tmp_path, monkeypatch
):
    monkeypatch.setattr(fonts, "installed", tuple)
    desk = sample.desk({"authors": (CHINESE, HINDI)})
    made = latex.compiled(project(desk, **drawn), latex.INPUTS)
    (tmp_path / "main.pdf").write_bytes(made.pdf)
    text = shown(tmp_path / "main.pdf")
    assert "[U+738B][U+5C0F][U+660E]" in text
    assert "nofontforsomeletters" in text


def test_a_font_of_the_machine_draws_what_the_others_lack(tmp_path, monkeypatch):
    """A font of this test alone has a square for each letter of a name in Chinese."""
    font = FontBuilder(1000)
    names = [".notdef", *(f"uni{ord(char):04X}" for char in CHINESE)]
    pen = TTGlyphPen(None)
    for place in ((0, 0), (0, 900), (900, 900), (900, 0)):
        (pen.lineTo if place != (0, 0) else pen.moveTo)(place)
    pen.closePath()
    font.setupGlyphOrder(names)
    font.setupCharacterMap({ord(char): f"uni{ord(char):04X}" for char in CHINESE})
    font.setupGlyf(dict.fromkeys(names, pen.glyph()))
    font.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    font.setupHorizontalHeader()
    font.save(tmp_path / "some.ttf")
    monkeypatch.setattr(fonts, "installed", lambda: (tmp_path / "some.ttf",))
    desk = FakeDesk({"page": f"{CHINESE} Ж {HINDI}".encode()}, {})
    lines = letters.style(desk, ("page",)).decode().splitlines()
    square = "{1000}{0 0 900 900}{1}{0 0 m 0 900 l 900 900 l 900 0 l h}"
    for char in CHINESE:
        assert any(line.endswith(f"{square} % {char}") for line in lines)
    assert lines.count(r"\letterfont") == 1
    assert sum(line.startswith(r"\missingletter") for line in lines) == len(set(HINDI))


def test_arabic_letters_join_and_run_from_right_to_left():
    assert directions.joined("سلام") == "\ufeb3\ufefc\ufee1"  # initial, final lam-alef, isolated
    assert directions.joined("محمد") == "\ufee3\ufea4\ufee4\ufeaa"
    assert directions.joined("دار") == "\ufea9\ufe8d\ufead"  # none of them joins the next
    assert directions.runs("by שלום כהן, 2026") == [
        ("by ", False), ("שלום כהן", True), (", 2026", False)
    ]  # fmt: skip
    assert str(escape.latex("a ٢٣ש")) == r"a \righttoleft{\lefttoright{٢٣}ש}"


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
    assert latex.flaws(latex.compiled(project(desk), latex.INPUTS).log) == []


@tex
def test_an_error_of_latex_names_its_file_and_line(clean):
    desk = FakeDesk(dict(clean.files), clean.keys)
    desk.files["paper/sections/training.tex"] += b"\n\\nosuchcommand\n"
    with pytest.raises(TaskError, match=r"paper/sections/training.tex:\d+: LaTeX: Undefined"):
        latex.recipe().work(desk)


@tex
def test_a_missing_package_says_what_to_install(clean):
    desk = FakeDesk(dict(clean.files), clean.keys)
    desk.files["paper/main.tex"] = (
        b"\\documentclass{article}\n\\usepackage{nosuch}\n\\begin{document}\\end{document}\n"
    )
    with pytest.raises(TaskError, match=r"nosuch.sty' not found(?s:.*)texlive-latex-recommended"):
        latex.recipe().work(desk)


def test_without_tex_one_sentence_says_what_to_install(clean, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TaskError) as caught:
        latex.recipe().work(clean)
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
        "Overfull \\hbox (1.9pt too wide) in paragraph at lines 1--2\n"
        "Overfull \\hbox (2.1pt too wide) in paragraph at lines 3--4\n"
    )
    assert [flaw.split()[0] for flaw in latex.flaws(log)] == ["LaTeX", "Package", "Overfull"]
    assert "2.1pt" in latex.flaws(log)[2]


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


NODES = [
    {"name": name, "type": "Linear", "parameters": 7, "output_shape": [1, 1024, 4096]}
    for name in (
        "blocks.0",
        "blocks.0.norm",
        "blocks.0.a_name_too_long_for_a_box",
        "blocks.0.out",
    )
]


def test_a_residual_connection_goes_round_whole_boxes():
    stack = modules.boxes(NODES, "blocks.0.")
    norm, long, out = (node["name"] for node in NODES[1:])
    assert modules.span(stack, [norm, long]) == (0, 1)
    assert modules.span(stack, [norm, long, out]) == (0, 2)
    assert modules.span(stack, ["elsewhere"]) is None
    whole = modules.boxes(NODES, "")
    assert modules.span(whole, [norm]) is None
    assert modules.span(whole, [norm, long, out]) == (0, 0)


def test_the_names_of_a_diagram_are_cut_before_they_meet_its_numbers():
    figure = Figure()
    diagram.draw_diagram(figure, NODES, [[NODES[1]["name"]]])
    canvas = FigureCanvasAgg(figure)
    texts = [each for each in figure.axes[0].texts if each.get_text() not in ("", "+")]
    boxes = [each.get_window_extent(canvas.get_renderer()) for each in texts]
    assert any(each.get_text().endswith("…") for each in texts)
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)


def test_a_small_setting_is_set_as_mathematics():
    assert str(escape.latex("eps 1e-5, 2.5e-4")) == (
        r"eps \ensuremath{10^{-5}}, \ensuremath{2.5\times 10^{-4}}"
    )
    assert str(escape.latex("e5 1e5b")) == "e5 1e5b"
