"""The pages of the documentation about families.

    python -m metagen.docs.pages              renews the texts
    python -m metagen.docs.pages out/run-*    renews the pictures of packages too, with poppler

A page says what is known of a family in its own files: the specs that lead to it, what it does, on
which data it is tried, which models of its kind were published, and how it fails. Its picture is
the outcome of a benchmark, `paper/figures/outcome.pdf` of a package as PNG, named after the spec.
The picture itself holds how long its model was trained, so that a page says no other number.
"""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from metagen import entries, families, paths, spec
from metagen.docs import escape, references, sheets
from metagen.families.family import Family
from metagen.measure.results import RESULTS

FOLDER = "docs/families"
GALLERY = "gallery"
PICTURES = "docs/images/families"
# The heading of a page comes first, since mkdocs takes a name for the page from nothing else.
_FOOT = "\n<!-- Written by `python -m metagen.docs.pages`. -->\n"
_MOST_MODELS = 12
_LARGEST = 60_000  # bytes of a picture
# Pixels an inch and colours, of which the first that make a picture small enough are taken.
_FORMS = ((110, 64), (110, 24), (90, 24), (70, 24))
TRAINING = "Training"  # the entry of a picture that says how long its model was trained


def pages() -> dict[str, str]:
    """Return the text of each page by its path in the repository."""
    made = {name: page(families.named(name)) for name in sorted(families.FAMILIES)}
    return {
        f"{FOLDER}/{name}.md": text + _FOOT for name, text in {**made, GALLERY: gallery()}.items()
    }


def gallery() -> str:
    """Return the page that names all families."""
    said = "Each family has a page, most of them with a picture of what it makes."
    head = f"# What can be built\n\n{said}\n\n"
    table = ["| model | family | for |", "| --- | --- | --- |"]
    for family in map(families.named, sorted(families.FAMILIES)):
        link = f"[{family.words.kind}]({family.name}.md)"
        table.append(f"| {link} | `{family.name}` | {_uses(family)['audience']} |")
    return head + "\n".join(table) + "\n"


def page(family: Family) -> str:
    """Return the page of a family."""
    parts = (
        f"# {family.words.kind[:1].upper()}{family.words.kind[1:]}",
        _picture(family),
        _uses(family)["direct"],
        _build(family),
        _routes(family),
        _data(family),
        _published(family),
        _failures(family),
        _files(family),
    )
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _picture(family: Family) -> str:
    """Return the picture of the first spec that has one, or the command that draws it."""
    for path in specs()[family.name]:
        picture = f"{PICTURES}/{path.stem}.png"
        if (paths.PACKAGE.parent / picture).is_file():
            caption = escape.markdown(family.words.outcome)
            data = escape.markdown(family.words.data)
            after = f"Drawn after {trained_for(paths.PACKAGE.parent / picture)} on {data},"
            says = f"*{caption} {after} by the benchmark of `metagen synth {_shown(path)}`.*"
            return f"![{caption}](../images/families/{path.stem}.png)\n\n{says}"
    command = f"metagen synth {_shown(specs()[family.name][0])} --out out"
    return (
        f"There is no picture here yet. `{command}` draws it, as `docs/figures/outcome.svg` of the "
        f"package: {family.words.outcome[:1].lower()}{family.words.outcome[1:]}"
    )


def _build(family: Family) -> str:
    own = specs()[family.name]
    # The site holds no file outside of docs/, so paths of the repository are text and no links.
    lines = [f"- `{_shown(path)}`" for path in own]
    command = f"```console\n$ metagen synth {_shown(own[0])} --out out\n```"
    return "\n".join([f"## Specs\n\n{command}\n", *lines])


def _routes(family: Family) -> str:
    """Return which values of keys lead to the family."""
    keys = list(families.KEYS)
    table = [f"| {' | '.join(f'`{key}`' for key in keys)} |", "|" + " --- |" * len(keys)]
    for route in families.ROUTES:
        if route.family == family.name:
            table.append(f"| {' | '.join(_values(route.allowed[key]) for key in keys)} |")
    head = "A spec with these values leads to this family; a key that it omits fits every value."
    return "\n".join(["## What leads to it", "", head, "", *table])


def _values(values: frozenset[str]) -> str:
    return ", ".join(f"`{value}`" for value in sorted(values))


def _data(family: Family) -> str:
    """Return the data that the scaled-down model is tried on, and its metrics."""
    task = family.task
    lines = [
        f"- {sheet['title'][:1].upper()}{sheet['title'][1:]}, by {sheet['authors']}"
        for sheet in map(_sheet, task.benchmark.sheets)
    ]
    names = ", ".join(f"`{name}`" for name in task.metrics)
    return "\n".join(
        [
            "## How it is tried",
            "",
            f"A scaled-down model reads {family.words.data}:",
            "",
            *lines,
            "",
            f"`eval.py` reports {names}. [Scores](../scores.md) has what each family learns.",
            "",
            f"The full model trains on your data: `train.py --size full --data {task.taken}`.",
        ]
    )


def _published(family: Family) -> str:
    """Return the published models that the search for dimensions follows."""
    with paths.source(family.published).open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    column = family.size_column
    shown = [f"| {escape.markdown(row['model'])} | {_size(row, column)} |" for row in rows]
    count = f"{len(rows)} published models" if rows[1:] else "one published model"
    more = " The first of them are:" if len(rows) > _MOST_MODELS else ""
    head = ["## Published models", "", f"Its shape follows {count}.{more}", ""]
    table = [
        f"| model | {family.size_unit} |",
        "| --- | ---: |",
        *shown[:_MOST_MODELS],
    ]
    return "\n".join([*head, *table])


def _size(row: Mapping[str, str], column: str) -> str:
    value = row.get(column) or ""
    return f"{float(value):,.0f}" if value.replace(".", "", 1).isdigit() else value


def _failures(family: Family) -> str:
    rows = _read(f"{family.texts}/failures.yaml")
    return "\n".join(["## How it fails", "", *map(_failure, rows)])


def _failure(row: Mapping[str, Any]) -> str:
    bibliography = paths.source(references.BIBLIOGRAPHY).read_text()
    works = references.resolved(bibliography, row.get("cites", ()))
    links = [escape.markdown_link(str(work["label"]), work["url"] or "") for work in works]
    return f"- {row['says'].rstrip('.')}" + (f" ({'; '.join(links)})." if links else ".")


def _files(family: Family) -> str:
    task = family.task.source("").rstrip("/")
    return (
        f"## Its files\n\nThe family is `metagen/families/{family.name}.py`, its model "
        f"`{family.model_template({})}`, and `{task}/` has the scripts of its task."
    )


def _uses(family: Family) -> dict[str, Any]:
    made: dict[str, Any] = _read(family.task.source("uses.yaml"))
    return made


def _sheet(name: str) -> dict[str, Any]:
    made: dict[str, Any] = _read(f"{sheets.FOLDER}/{name}.yaml")
    return made


def _read(name: str) -> Any:
    return entries.parse(name, paths.source(name).read_bytes())


@cache
def specs() -> dict[str, list[Path]]:
    """Return the specs that metagen ships, by their family."""
    found: dict[str, list[Path]] = {name: [] for name in families.FAMILIES}
    for path in sorted(paths.specs().rglob("*.yaml")):
        found[families.route(spec.load(path, ()).key)].append(path)
    return found


def _shown(path: Path) -> str:
    return f"specs/{path.relative_to(paths.specs()).as_posix()}"


def trained_for(picture: Path) -> str:
    """Return how long the model of a picture was trained, such as `500 training steps`."""
    from PIL import Image

    with Image.open(picture) as opened:
        return str(opened.info[TRAINING])


def drawn(package: Path) -> dict[str, bytes]:
    """Return the picture of a package, the run folder of a spec, by its path in the repository.

    Raises:
        subprocess.CalledProcessError: The package has no figure of an outcome.
    """
    figure = package / "paper/figures/outcome.pdf"
    result = json.loads((package / RESULTS).read_bytes())[0]
    training = f"{result['steps']:,} {result['steps_unit']}"
    for resolution, colours in _FORMS:
        picture = _png(figure, training, resolution, colours)
        if len(picture) <= _LARGEST:
            break
    return {f"{PICTURES}/{package.name.removeprefix('run-')}.png": picture}


def _png(figure: Path, training: str, resolution: int, colours: int) -> bytes:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    command = ("pdftoppm", "-png", "-singlefile", "-r", str(resolution), str(figure))
    made = subprocess.run(command, check=True, capture_output=True).stdout
    stream = io.BytesIO()
    picture = Image.open(io.BytesIO(made)).convert("RGB").quantize(colours)
    about = PngInfo()
    about.add_text(TRAINING, training)
    picture.save(stream, format="PNG", optimize=True, pnginfo=about)
    return stream.getvalue()


def main(packages: Sequence[str]) -> None:
    """Write the pages, and pictures of packages, in the current folder, which is the repository."""
    files = {path: data for each in packages for path, data in drawn(Path(each)).items()}
    for path, data in files.items():
        Path(path).write_bytes(data)
    for path, text in pages().items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
