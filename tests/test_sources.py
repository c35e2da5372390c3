"""The sources of devices and of measurements: makers, papers and those who measured."""

import csv

import pytest

from metagen import paths

FOLDER = paths.source("data/devices.csv").parent
TABLES = sorted(path.name for path in FOLDER.glob("*.csv"))
SECOND_HAND = (
    *("...", "scribd", "statista", "runpod", "wiki", "reddit", "technical.city", "topcpu"),
    *("glennklockwood", "waredb", "fpsbench", "notebookcheck", "gizbot"),
)


def rows(name):
    with (FOLDER / name).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("name", TABLES)
def test_no_figure_rests_on_a_second_hand_source(name):
    text = (FOLDER / name).read_text(encoding="utf-8").lower()
    assert not [word for word in SECOND_HAND if word in text]


@pytest.mark.parametrize("name", ["devices.csv", "decoding.csv", "passes.csv"])
def test_each_figure_has_an_entry_in_the_bibliography(name):
    known = (paths.templates() / "paper/bibliography.bib").read_text(encoding="utf-8")
    assert all(f"{{{row['cite']}," in known for row in rows(name))


def test_each_measurement_is_of_a_device_of_the_table_and_names_its_program():
    devices = {row["device"] for row in rows("devices.csv")}
    for row in (*rows("decoding.csv"), *rows("passes.csv")):
        assert row["device"] in devices
        assert row["program"]
