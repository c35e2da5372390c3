"""Pairs of images and texts: data, refusals, recall, answers, and two processes that contrast."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers import processes
from helpers.clip_settings import MODEL, SPEC, TINY, Modules, write_photos
from helpers.family_code import beats_its_baselines, modules_of, write_code

from metagen.families.clip import FAMILY as clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_code(tmp_path_factory.mktemp("code"), clip, TINY)


@pytest.fixture(scope="module")
def code(folder: Path) -> Iterator[Modules]:
    with modules_of(folder) as modules:
        yield modules


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path)


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
    ("text", "message"),
    [
        (None, "must hold one of metadata"),
        ('{"file_name": "../secret.png", "text": "x"}', "not a file in"),
        ('{"file_name": "a/none.png", "text": "x"}', "not a file in"),
        ('{"file_name": "a/1.png"}', 'has no "text"'),
        ('{"file_name": "a/1.png", "text": "alone"}', "too few pairs"),
    ],
)
def test_bad_pairs_are_refused_in_a_sentence(
    code: Modules, photos: Path, text: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "metadata.jsonl").unlink()
    (photos.parent / "secret.png").touch()
    if text is not None:
        (photos / "metadata.jsonl").write_text(text)
    with pytest.raises(SystemExit) as caught:
        code["data"].load_pairs(code["data"].Config(), photos, code["model"].Config(**MODEL))
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_images_and_captions_in_shards_of_the_hub_are_pairs(
    code: Modules, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    lines = [json.loads(line) for line in (photos / "metadata.jsonl").open()]
    rows = [
        {"image": {"bytes": (photos / line["file_name"]).read_bytes()}, "caption": line["text"]}
        for line in lines
    ]
    for place in ("one", "two"):
        (tmp_path / place / "data").mkdir(parents=True)
        for split, part in (("train", rows[:60]), ("validation", rows[60:])):
            file = tmp_path / place / "data" / f"{split}-00000-of-00001.parquet"
            pq.write_table(pa.Table.from_pylist(part), file)
    config, load_pairs = code["model"].Config(**MODEL), code["data"].load_pairs
    one, two = (load_pairs(code["data"].Config(), tmp_path / p, config) for p in ("one", "two"))
    assert one.sha256 == two.sha256
    assert [pair.text for pair in one.splits["val"]] == [line["text"] for line in lines[60:]]
    assert sum(map(len, one.splits.values())) == len(lines)
    pair = one.splits["val"][0]
    whole = load_pairs(code["data"].Config(), photos, config)
    same = next(
        p for each in whole.splits.values() for p in each if p.name == lines[60]["file_name"]
    )
    assert torch.equal(one.images([pair]), whole.images([same]))


def test_recall_counts_ties_by_half_and_agrees_with_chance(code: Modules) -> None:
    drawn = code["eval"].DRAWN

    def values(curve: dict[int, object]) -> list[float]:
        return [float(score.values.mean()) for score in curve.values()]

    def recalls(scores: torch.Tensor, right: torch.Tensor) -> list[float]:
        return values(code["eval"].recalls(code["eval"].places(scores, right)))

    right = torch.eye(50, dtype=torch.bool)
    assert recalls(right.float(), right)[0] == 1
    flat = recalls(torch.zeros(50, 50), right)  # all tie: 24.5 wrong ones stand before, on average
    assert flat == [float(k > 24.5) for k in drawn]
    torch.manual_seed(0)
    several = torch.rand(4000, 50) < 0.05
    several[:, 0] |= ~several.any(1)
    random = recalls(torch.rand(4000, 50), several)
    assert random == pytest.approx(values(code["eval"].chance(several)), abs=0.03)


def test_infer_prints_texts_of_an_image_and_images_of_a_text(
    code: Modules,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    common = ["--data", str(photos), "--out", str(photos / "out"), "--threads", "1"]
    monkeypatch.setattr(sys, "argv", ["train.py", *common, "--steps", "1"])
    code["train"].main()
    (photos / "labels.txt").write_text("dark\nbright\n")
    picture = ["--input", str(photos / "a/3.png")]
    for question, answers in (
        (["--prompt", "grey 3"], 3),
        (picture, 3),
        ([*picture, "--texts", str(photos / "labels.txt")], 2),
    ):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["infer.py", *common, *question])
        code["infer"].main()
        cosines = [float(line.split()[0]) for line in capsys.readouterr().out.splitlines()]
        assert len(cosines) == answers
        assert cosines == sorted(cosines, reverse=True)


@pytest.mark.slow
def test_the_proxy_beats_chance_on_the_bundled_glyphs(tmp_path: Path) -> None:
    beats_its_baselines(SPEC, tmp_path, only="chance")


@pytest.mark.slow
def test_trained_longer_it_beats_the_nearest_neighbour(tmp_path: Path) -> None:
    beats_its_baselines(SPEC, tmp_path, "evaluation.bench=full")


def _processes(folder: Path, out: Path, count: int, *options: str) -> list[float]:
    """Train in so many processes, and return the losses."""
    line = ("train.py", "--out", out, "--threads", 1, *options)
    processes.finish(processes.start(folder, *line, count=count))
    lines = map(json.loads, (out / "metrics.jsonl").open())
    return [value for row in lines for value in (row["train_loss"], row["grad_norm"])]


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_two_processes_contrast_with_the_pairs_of_both(
    folder: Path, photos: Path, tmp_path: Path, mode: str
) -> None:
    data = ("--data", str(photos), "--steps", "3", "--batch-size", "8")
    alone = _processes(folder, tmp_path / "one", 1, *data)
    both = _processes(folder, tmp_path / "two", 2, *data, "--parallel", mode)
    assert both == pytest.approx(alone, rel=1e-3)
