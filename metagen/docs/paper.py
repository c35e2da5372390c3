"""The paper: a LaTeX project with a file for each section, its bibliography and its Makefile."""

from __future__ import annotations

import re
import shlex

from metagen.docs import diagram, figures, fit, letters, outcome, provenance, render
from metagen.docs.sources import SOURCES, inputs
from metagen.work import Desk, Recipe, Work

BUILD = "build"
PROGRAMS = ("latexmk", "pdflatex", "bibtex")
PACKAGES_HINT = (
    "The paper needs the Debian packages latexmk, texlive-latex-recommended and "
    "texlive-fonts-recommended."
)
MISSING_TEX = (
    "TeX is not installed: run `apt-get install latexmk texlive-latex-recommended "
    "texlive-fonts-recommended`, then build the paper again."
)
# The environment hides the time of day and the user's files, and keeps TeX in the paper's folder.
ENVIRONMENT = {
    "SOURCE_DATE_EPOCH": "0",
    "FORCE_SOURCE_DATE": "1",
    "LC_ALL": "C",
    "TZ": "UTC",
    "openin_any": "p",
    "openout_any": "p",
    "shell_escape": "f",
    "max_print_line": "1000",
    "TEXMFHOME": f"{BUILD}/texmf",
    "TEXMFCONFIG": f"{BUILD}/texmf",
    "TEXINPUTS": "",
    "BIBINPUTS": "",
    "BSTINPUTS": "",
}
COMMAND = (
    "latexmk",
    "-norc",
    "-pdf",
    "-interaction=nonstopmode",
    "-halt-on-error",
    "-file-line-error",
    "-latexoption=-no-shell-escape",
    # Run bibtex beside the sources: its paranoid mode opens nothing in a parent folder.
    "-e",
    "$bibtex_fudge=0;",
    f"-outdir={BUILD}",
    "main.tex",
)

# The files whose facts each section prints.
SECTIONS = {
    "abstract": ("arch", "params", "constraints", "results", "trained"),
    "introduction": ("results", "trained"),
    "related": ("arch",),
    "architecture": ("arch", "graph", "params", "shape", "flops", "peers", "constraints"),
    "constraints": ("constraints", "sensitivity"),
    "data": ("results", "sheets", "trained"),
    "training": ("arch", "launch", "trained", "trained_curve", "plan"),
    "evaluation": ("arch", "params", "results", "report", "ablations", "curve", "trained"),
    "limitations": ("arch", "params", "constraints", "results", "trained", "bench"),
    "reproducibility": ("results", "lock", "trained"),
    "checklist": ("results", "trained", "machine"),
    "appendix": ("arch", "params", "constraints", "peers"),
}
SECTION_FILES = tuple(f"paper/sections/{name}.tex" for name in SECTIONS)
_ENTRY = re.compile(r"(@\w+\{(\w+),\n(?:  .*\n)*\}\n)")


def main(desk: Desk) -> dict[str, bytes]:
    """Return `paper/main.tex`: the preamble, the title and the order of the sections."""
    return _page(desk, "main.tex")


def style(desk: Desk) -> dict[str, bytes]:
    """Return `paper/report.sty`, which has all that is not the report's own text."""
    return {"paper/report.sty": desk.source("templates/paper/report.sty")}


def drawn_letters(desk: Desk) -> dict[str, bytes]:
    """Return `paper/letters.sty`, with the letters that the fonts of TeX lack."""
    return {letters.TARGET: letters.style(desk, ("paper/main.tex", *SECTION_FILES))}


def references(desk: Desk) -> dict[str, bytes]:
    """Return `paper/bibliography.bib`: the cited entries of the bibliography that metagen ships."""
    cited = {key for path in SECTION_FILES for key in desk.entry(path, "citations")}
    known = _ENTRY.findall(desk.source("templates/paper/bibliography.bib").decode())
    text = "\n".join(entry for entry, key in known if key in cited)
    return {"paper/bibliography.bib": text.encode()}


def makefile(desk: Desk) -> dict[str, bytes]:
    """Return `paper/Makefile`, which runs the same command as the build itself."""
    command = shlex.join(COMMAND).replace("$", "$$")
    text = render.plain(
        desk,
        "paper/Makefile",
        environment=ENVIRONMENT.items(),
        missing=MISSING_TEX.replace("`", "\\`"),
        command=command,
        folder=BUILD,
    )
    return {"paper/Makefile": text.encode()}


def _page(desk: Desk, path: str) -> dict[str, bytes]:
    page = render.latex(desk, f"paper/{path}")
    return provenance.written(f"paper/{path}", page.data, page.printed)


def section(name: str) -> Work:
    """Return the work that writes `paper/sections/<name>.tex`."""

    def work(desk: Desk) -> dict[str, bytes]:
        return _page(desk, f"sections/{name}.tex")

    return work


def _section(name: str) -> Recipe:
    # The limitations name every source that the user edited, so they depend on all sources.
    sources = SOURCES if name == "limitations" else ()
    read = tuple(dict.fromkeys((*inputs(*SECTIONS[name]), *sources)))
    targets = provenance.targets(f"paper/sections/{name}.tex")
    return Recipe(f"paper:{name}", section(name), read, targets, f"write the {name}")


RECIPES = (
    Recipe(
        "paper:main",
        main,
        inputs("arch", "results", "trained"),
        provenance.targets("paper/main.tex"),
        "write the paper's frame",
    ),
    Recipe("paper:style", style, (), ("paper/report.sty",), "write the paper's style"),
    *map(_section, SECTIONS),
    Recipe(
        "paper:letters",
        drawn_letters,
        ("paper/main.tex", *SECTION_FILES),
        (letters.TARGET,),
        "draw the letters that the paper's fonts lack",
    ),
    Recipe(
        "paper:references",
        references,
        SECTION_FILES,
        ("paper/bibliography.bib",),
        "write the references",
    ),
    Recipe("paper:makefile", makefile, (), ("paper/Makefile",), "write the paper's Makefile"),
    *figures.RECIPES,
    *diagram.RECIPES,
    *fit.RECIPES,
    *outcome.RECIPES,
)
