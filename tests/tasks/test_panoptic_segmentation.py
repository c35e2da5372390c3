"""Panoptic segmentation: maps of a user, merging, panoptic quality by a formula, and a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.family_code import beats_its_baselines, modules_of, write_code
from helpers.made import run
from helpers.mask_rcnn_settings import Modules
from helpers.panoptic_settings import MODEL, STUFF, THINGS, TINY, mapped, write_panoptic
from helpers.readers import Readers
from PIL import Image
from torch import Tensor

from metagen import families, paths
from metagen.families.panoptic_fpn import FAMILY as panoptic_fpn
from metagen.spec import load as load_spec

SPEC = paths.specs() / "image/panoptic_segmentation_fpn.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_code(tmp_path_factory.mktemp("code"), panoptic_fpn, TINY)


@pytest.fixture(scope="module")
def code(folder: Path) -> Iterator[Modules]:
    with modules_of(folder) as modules:
        yield modules


def load(code: Modules, data: Path) -> Any:
    return code["data"].load_scenes(code["data"].Config(), data, code["model"].Config(**MODEL))


def test_a_spec_of_things_and_stuff_is_routed_here() -> None:
    key = load_spec(SPEC).key
    assert families.route(key) == "panoptic_fpn"
    assert panoptic_fpn.fixed(key)["num_classes"] == 80


# The user's maps


def test_segments_of_a_map_become_things_and_stuff_of_a_batch(
    code: Modules, tmp_path: Path
) -> None:
    pictures = load(code, write_panoptic(tmp_path))
    # Things have the first ten numbers of the network, of which the data uses three.
    assert pictures.classes == (*THINGS, *[""] * 7, *STUFF, "")
    assert pictures.named()[:4] == (*THINGS, "LABEL_3")
    image, segments = pictures.sample("train", 0)
    things = segments.of(segments.classes < 10)
    images, boxes, classes, masks, stuff = pictures.batch_at(
        code["data"].Config(flip=False), 0, 4, 0
    )
    assert images.shape == (4, 1, 96, 96)
    assert masks.shape == (4, 2, 96, 96)
    assert stuff.shape == (4, 96, 96)
    assert (masks.any(1) <= (stuff == 0)).all()
    # An image of 48 x 40 pixels fills 96 x 80; below it and in its first row nothing is labelled.
    assert (stuff[:, 80:] == -1).all()
    assert (stuff[:, :2] == -1).all()
    assert (stuff[:, 2:80] >= 0).all()
    assert set(stuff[:, :, :48].unique().tolist()) == {-1, 0, 1}
    assert set(stuff[:, :, 48:].unique().tolist()) == {-1, 0, 2}
    assert image.shape == (1, 96, 96)
    assert len(things) == 2
    for box, mask in zip(boxes.flatten(0, 1).tolist(), masks.flatten(0, 1), strict=True):
        rows, columns = mask.nonzero(as_tuple=True)
        extent = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert box == [float(side) for side in extent]
    assert set(classes.flatten().tolist()) <= {0, 1, 2}


def changed(part: str, change: Callable[[list[Any]], None]) -> dict[str, Any]:
    rows = mapped(24)[2][part]
    change(rows)
    return {part: rows}


@pytest.mark.parametrize(
    ("part", "change", "sentence"),
    [
        ("categories", lambda rows: rows[0].pop("isthing"), "has no isthing of 0 or 1"),
        ("categories", lambda rows: rows.__delitem__(slice(3, None)), "no category of stuff"),
        ("annotations", lambda rows: rows.pop(), "image 23 has no annotation"),
        ("annotations", lambda rows: rows[4].pop("segments_info"), "annotations[4] has no segm"),
        ("annotations", lambda rows: rows[4].update(image_id=3), "second annotation of image 3"),
        (
            "annotations",
            lambda rows: rows[4].update(file_name="../../0004.png"),
            "annotations[4] has file_name ../../0004.png, which is no image in",
        ),
        (
            "annotations",
            lambda rows: rows[4]["segments_info"][1].update(id=2**24),
            "annotations[4].segments_info[1] has no id from 1 to 16,777,215",
        ),
        (
            "annotations",
            lambda rows: rows[4]["segments_info"][1].update(id=7),
            "annotations[4].segments_info[1] has the id 7 of another segment",
        ),
        (
            "annotations",
            lambda rows: rows[4]["segments_info"][0].update(category_id=[]),
            "annotations[4].segments_info[0] has category_id",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(
    code: Modules,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    part: str,
    change: Callable[[list[Any]], None],
    sentence: str,
) -> None:
    data = write_panoptic(tmp_path, **changed(part, change))
    with pytest.raises(SystemExit):
        load(code, data)
    assert sentence in capsys.readouterr().err


def test_maps_of_other_sizes_or_of_segments_that_no_list_has_are_refused(
    code: Modules, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_panoptic(tmp_path)
    path = data / "segments" / "0003.png"
    whole = path.read_bytes()
    with Image.open(path) as file:
        file.resize((24, 20)).save(path)
    with pytest.raises(SystemExit):
        load(code, data)
    assert "0003.png has 24 x 20 pixels, and its image 48 x 40" in capsys.readouterr().err
    Image.fromarray(np.zeros((40, 48), np.uint8)).save(path)
    with pytest.raises(SystemExit):
        load(code, data)
    assert "a map is a PNG whose colours (RGB) number segments" in capsys.readouterr().err
    path.write_bytes(whole)
    with Image.open(path) as file:
        pixels = np.array(file)
    pixels[20, 20] = (9, 1, 0)
    Image.fromarray(pixels).save(path)
    pictures = load(code, data)
    with pytest.raises(SystemExit):
        [pictures.truth(split) for split in pictures.splits]
    assert "has pixels of segment 265 (red 9, green 1, blue 0)" in capsys.readouterr().err


# Merging


def masked(size: tuple[int, int], *parts: tuple[slice, slice]) -> Tensor:
    masks = torch.zeros(len(parts), *size, dtype=torch.bool)
    for mask, part in zip(masks, parts, strict=True):
        mask[part] = True
    return masks


def test_the_surest_thing_keeps_its_pixels_and_stuff_fills_the_rest(runtime: Readers) -> None:
    whole = slice(None)
    masks = masked(
        (4, 10),
        (whole, slice(0, 3)),  # half hidden by the next one
        (whole, slice(1, 5)),
        (whole, slice(2, 5)),  # wholly hidden
        (whole, slice(8, 10)),  # not sure enough
    )
    scores, classes = torch.tensor([0.6, 0.9, 0.8, 0.4]), torch.tensor([3, 1, 2, 4])
    found = runtime.objects.Found(torch.zeros(4, 4), scores, classes, masks)
    stuff = torch.tensor([[0, 0, 0, 0, 0, 1, 1, 1, 2, 0]] * 4)
    made = runtime.segments.merged(found, stuff, 10, 0.5, 5)
    # Of the first thing one column in three is free: it is left out, as is the stuff of 4 pixels.
    assert made.numbers.tolist() == [[0, 1, 1, 1, 1, 2, 2, 2, 0, 0]] * 4
    assert made.classes.tolist() == [1, 10]
    assert made.scores.tolist() == pytest.approx([0.9, 1])
    assert runtime.segments.merged(found, stuff, 10, 0.5, 4).classes.tolist() == [1, 10, 11]


def test_colours_of_a_map_are_the_numbers_of_its_segments(runtime: Readers) -> None:
    numbers = torch.tensor([[0, 1, 255], [256, 65_536, 70_000]])
    colours = runtime.segments.colours_of(numbers).astype(int)
    assert (colours @ (1, 256, 65_536)).tolist() == numbers.tolist()


# Panoptic quality, segment by segment


def quality(truth: list[Any], found: list[Any], classes: range) -> tuple[float, float, float]:
    """Return PQ, SQ and RQ as their paper defines them, of sets of pixels; void is in no set."""
    shared, right, wrong, missed = (dict.fromkeys(range(5), 0.0) for _ in range(4))
    for true, own in zip(truth, found, strict=True):
        labelled = {place for _, pixels, _ in true for place in pixels}
        free = [segment for segment in true if not segment[2]]
        for kind, pixels in own:
            for number, (other, place, _) in enumerate(free):
                both, either = len(pixels & place), len((pixels & labelled) | place)
                if kind == other and both / either > 0.5:
                    shared[kind] += both / either
                    right[kind] += 1
                    del free[number]
                    break
            else:
                crowds = {
                    p for other, place, crowd in true if crowd and other == kind for p in place
                }
                ignored = (pixels - labelled) | (pixels & crowds)
                wrong[kind] += len(ignored) <= len(pixels) / 2
        for kind, _, _ in free:
            missed[kind] += 1
    there = [c for c in classes if right[c] + wrong[c] + missed[c]]
    sums = {c: right[c] + wrong[c] / 2 + missed[c] / 2 for c in there}
    pq = sum(shared[c] / sums[c] for c in there) / len(there)
    sq = sum(shared[c] / right[c] for c in there if right[c]) / len(there)
    return pq, sq, sum(right[c] / sums[c] for c in there) / len(there)


def places(mask: Tensor) -> set[tuple[int, ...]]:
    return {tuple(place) for place in mask.nonzero().tolist()}


def test_the_score_is_that_of_the_formula_with_crowds_and_void(runtime: Readers) -> None:
    draw = torch.Generator().manual_seed(0)
    truth: list[Any] = []
    found: list[Any] = []
    for _ in range(8):
        # Blocks are segments; a method finds most of them, shifted, and some with another class.
        blocks = torch.arange(9).view(3, 3).repeat_interleave(6, 0).repeat_interleave(6, 1)
        kept = torch.randperm(9, generator=draw)[:7].tolist()
        masks = torch.stack([blocks == block for block in kept])
        classes = torch.randint(5, (7,), generator=draw)
        crowd = torch.arange(7) < 1
        truth.append(runtime.objects.Objects(torch.zeros(7, 4), classes, crowd, masks))
        shift = int(torch.randint(3, (1,), generator=draw))
        numbers = (blocks + 1).roll(shift, 1) * (blocks != kept[-1])
        own = torch.randint(5, (9,), generator=draw)
        own[torch.tensor(kept[:5])] = classes[:5]
        found.append(runtime.segments.Segments(numbers, own, torch.ones(9)))
    true = [
        [(int(c), places(m), bool(w)) for c, m, w in zip(t.classes, t.masks, t.crowd, strict=True)]
        for t in truth
    ]
    other = [
        [(int(c), places(f.numbers == n)) for n, c in enumerate(f.classes, start=1)] for f in found
    ]
    other = [[pair for pair in pairs if pair[1]] for pairs in other]
    kinds = runtime.panoptic_scores.PanopticQuality(
        truth, [_dense(runtime, each) for each in found], 5
    )
    ones = np.ones(8)
    for part, classes in (
        (slice(None), range(5)),
        (slice(3), range(3)),
        (slice(3, None), range(3, 5)),
    ):
        expected = quality(true, other, classes)
        own = tuple(kinds.of(kind, part)(ones) for kind in ("pq", "sq", "rq"))
        assert own == pytest.approx(expected)
        assert 0.1 < own[0] < 0.9
    # An image that counts twice is the image twice.
    weights = np.array([2.0, 0, 1, 1, 1, 1, 1, 1])
    chosen = [0, 0, *range(2, 8)]
    expected = quality([true[n] for n in chosen], [other[n] for n in chosen], range(5))
    assert kinds.of("pq")(weights) == pytest.approx(expected[0])


def _dense(runtime: Readers, found: Any) -> Any:
    """Return segments numbered from 1 without gaps, as merging makes them."""
    there = sorted(set(found.numbers.unique().tolist()) - {0})
    numbers = torch.zeros_like(found.numbers)
    for number, old in enumerate(there, start=1):
        numbers[found.numbers == old] = number
    classes = found.classes[torch.tensor(there) - 1]
    return runtime.segments.Segments(numbers, classes, torch.ones(len(there)))


def test_true_segments_score_one(code: Modules, tmp_path: Path) -> None:
    pictures = load(code, write_panoptic(tmp_path))
    truth = pictures.truth("test")
    found = []
    for each in truth:
        numbers = torch.zeros(96, 96, dtype=torch.int64)
        for number, mask in enumerate(each.masks, start=1):
            numbers[mask] = number
        found.append(code["eval"].Segments(numbers, each.classes, torch.ones(len(each))))
    rows = code["eval"].metrics(truth, {"model": found, "same": found}, 10, 13)
    assert [row["metric"] for row in rows] == list(panoptic_fpn.task.metrics)
    assert all(row["value"] == pytest.approx(1) for row in rows)


@pytest.mark.slow
@pytest.mark.ci
def test_a_users_images_are_learned_scored_and_segmented(folder: Path, tmp_path: Path) -> None:
    data, out = write_panoptic(tmp_path / "data"), tmp_path / "out"
    chosen = ("--out", out, "--data", data, "--threads", 1)
    run(folder, "train", *chosen, "--steps", 2, "--schedule-steps", 4)
    run(folder, "train", *chosen, "--steps", 4, "--schedule-steps", 4, "--resume")
    report = json.loads(run(folder, "eval", *chosen))
    assert [row["metric"] for row in report["metrics"]] == list(panoptic_fpn.task.metrics)
    image = data / "images" / "0003.png"
    run(folder, "infer", "--out", out, "--threads", 1, "--input", image)
    table = json.loads((out / "0003.json").read_text())
    with Image.open(out / table["file_name"]) as file:
        numbers = np.array(file).astype(int) @ (1, 256, 65_536)
    assert numbers.shape == (40, 48)
    listed = {row["id"]: row["area"] for row in table["segments_info"]}
    assert listed == {n: int((numbers == n).sum()) for n in np.unique(numbers).tolist() if n}
    with Image.open(out / "0003_drawn.png") as drawn:
        assert drawn.size[0] / drawn.size[1] == 48 / 40


@pytest.mark.slow
@pytest.mark.ci
def test_the_proxy_finds_more_than_one_stuff(tmp_path: Path) -> None:
    beats_its_baselines(SPEC, tmp_path, "evaluation.bench=quick", only="one stuff")
