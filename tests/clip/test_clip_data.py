"""Pairs of glyphs or of yours: which stay together, and which are refused in a sentence."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from clip_settings import MODEL, Modules


def test_glyphs_that_look_alike_stay_together_and_are_right_answers(code: Modules) -> None:
    pairs, _ = code["data"].glyphs(code["model"].Config(**MODEL | {"image_size": 32}))
    named = {pair.text: pair for pair in pairs}
    latin, greek = named["LATIN CAPITAL LETTER A"], named["GREEK CAPITAL LETTER ALPHA"]
    assert latin.name == greek.name
    other = named["LATIN SMALL LETTER B"]
    right = code["eval"].right_answers([latin, greek, other])
    assert right.tolist() == [[True, True, False], [True, True, False], [False, False, True]]


def test_captions_of_an_image_stay_in_one_split(code: Modules, photos: Path) -> None:
    config = code["model"].Config(**MODEL)
    data = code["data"].load_pairs(code["data"].Config(), photos, config)
    names = {split: {pair.name for pair in each} for split, each in data.splits.items()}
    assert names["train"].isdisjoint(names["test"] | names["val"])
    assert sum(map(len, data.splits.values())) == 80
    assert data.images(data.splits["val"]).shape[1:] == (3, 16, 16)


def test_a_csv_reads_as_the_same_pairs(code: Modules, photos: Path) -> None:
    config, load_pairs = code["model"].Config(**MODEL), code["data"].load_pairs
    before = load_pairs(code["data"].Config(), photos, config)
    lines = [json.loads(line) for line in (photos / "metadata.jsonl").open()]
    (photos / "metadata.jsonl").unlink()
    with (photos / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ("file_name", "text"))
        writer.writeheader()
        writer.writerows(lines)
    assert load_pairs(code["data"].Config(), photos, config).splits == before.splits


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "must hold one of metadata"),
        ('{"file_name": "../secret.png", "text": "x"}', "no file below"),
        ('{"file_name": "a/none.png", "text": "x"}', "no file below"),
        ('{"file_name": "a/1.png"}', 'has no "text"'),
        ('{"file_name": "a/1.png", "text": "alone"}', "too few pairs"),
    ],
)
def test_bad_pairs_are_refused_in_a_sentence(
    code: Modules, photos: Path, text: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "metadata.jsonl").unlink()
    (photos.parent / "secret.png").touch()
    if text is not None:
        (photos / "metadata.jsonl").write_text(text)
    with pytest.raises(SystemExit) as caught:
        code["data"].load_pairs(code["data"].Config(), photos, code["model"].Config(**MODEL))
    assert caught.value.code == 2
    assert said in capsys.readouterr().err
