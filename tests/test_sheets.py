"""Each benchmark has a data sheet that answers what a reader of its scores asks about the data."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from helpers.fake_desk import FakeDesk

from metagen import families, paths
from metagen.docs import references, sheets, uses
from metagen.spec.words import hub_list

FOLDER = paths.source(sheets.FOLDER)
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
LISTS = {"language", "problems", "cites"}
LONGEST = 600  # the longest text that a document prints without a cut


def sheet(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    return read


@pytest.mark.parametrize("family", sorted(families.FAMILIES))
def test_every_benchmark_has_a_sheet_of_its_data(family):
    task = families.named(family).task
    assert task.benchmark.sheets, (
        f"give the benchmark of {task.name} its `sheets`, and write one for each data set in "
        f"{sheets.FOLDER}/, with the entries of metagen/docs/sheets.py"
    )
    assert set(task.benchmark.sheets) <= set(NAMES)


def test_every_sheet_is_of_a_benchmark():
    used = (families.named(each).task.benchmark.sheets for each in families.FAMILIES)
    assert {name for names in used for name in names} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_sheet_answers_all_questions_in_texts_that_fit_on_a_page(name):
    read = sheet(name)
    assert set(read) <= set(sheets.FIELDS)
    assert set(sheets.FIELDS) - sheets.OPTIONAL <= set(read)
    assert "license" in read or "license_note" in read
    for field, value in read.items():
        assert isinstance(value, list if field in LISTS else str), field
        for text in value if field in LISTS else [value]:
            assert 0 < len(text.strip()) <= LONGEST, field


@pytest.mark.parametrize("name", NAMES)
def test_a_sheet_names_known_languages_licences_and_works(name):
    read = sheets.read(FakeDesk({}, {}), name)
    assert set(read["language"] or ()) <= set(hub_list("languages"))
    assert re.fullmatch(r"[A-Za-z0-9.-]+", read["license"] or "none")
    assert all(each["label"] for each in read["references"])
    assert read["hub"] is None or read["hub"].count("/") == 1


@pytest.mark.parametrize("name", sorted(families.FAMILIES))
def test_every_family_says_how_it_fails_and_every_task_what_it_is_for(name):
    family = families.named(name)
    for path in (family.task.source("uses.yaml"), f"{family.texts}/failures.yaml"):
        assert paths.source(path).is_file(), f"write {path}, with the entries of docs/uses.py"
    read = uses.read(FakeDesk({}, {}), family)
    assert set(read) == {*uses.USES, "failures"}
    rows = [*read["risks"], *read["failures"]]
    assert read["failures"]
    assert read["risks"]
    for text in (*read["out_of_scope"], *(row["says"] for row in rows), read["direct"]):
        assert 0 < len(text) <= LONGEST


def test_families_and_tasks_say_what_is_their_own():
    every = [uses.read(FakeDesk({}, {}), families.named(name)) for name in families.FAMILIES]
    by_task = {each["direct"]: each for each in every}.values()
    for field in ("audience", "direct", "downstream", "recommendation"):
        assert len({each[field] for each in by_task}) == len(by_task)


def test_a_work_is_cited_by_names_year_and_address():
    bibliography = paths.source(references.BIBLIOGRAPHY).read_text()
    known = re.findall(r"^@\w+\{(\w+)", bibliography, re.MULTILINE)
    works = {each["key"]: each for each in references.resolved(bibliography, known)}
    assert works["gat"]["label"] == "Veličković et al., 2018"
    assert works["rmsnorm"]["label"] == "Zhang and Sennrich, 2019"
    assert works["optdigits"]["url"] == "https://doi.org/10.24432/C50P49"
    assert not [each for each in works.values() if re.search(r"[\\{}]", str(each["label"]))]
