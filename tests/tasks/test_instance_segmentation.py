"""Instance segmentation: outlines of a user, masks in their places, COCO's scores, and a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.detection_settings import NAMES, pictured, write_coco
from helpers.family_code import beats_its_baselines, modules_of, write_code
from helpers.made import run
from helpers.mask_rcnn_settings import MODEL, TINY, Modules
from helpers.readers import Readers
from PIL import Image
from pycocotools import mask as packer

from metagen import families, paths
from metagen.families.mask_rcnn import FAMILY as mask_rcnn
from metagen.spec import load as load_spec

SPEC = paths.specs() / "image/instance_segmentation_maskrcnn.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_code(tmp_path_factory.mktemp("code"), mask_rcnn, TINY)


@pytest.fixture(scope="module")
def code(folder: Path) -> Iterator[Modules]:
    with modules_of(folder) as modules:
        yield modules


def load(code: Modules, data: Path) -> Any:
    return code["data"].load_scenes(code["data"].Config(), data, code["model"].Config(**MODEL))


def test_a_spec_of_masks_of_objects_is_routed_here() -> None:
    key = load_spec(SPEC).key
    assert families.route(key) == "mask_rcnn"
    sides = {"image_height": 1024, "image_width": 1024}
    assert mask_rcnn.fixed(key) == {**sides, "num_classes": 80, "mask_resolution": 28}


# The user's outlines


def as_runs(rows: list[dict[str, Any]], *, packed: bool) -> None:
    """Give annotations run lengths in the place of polygons, by COCO's own code."""
    for row in rows:
        (runs,) = packer.frPyObjects(row["segmentation"], 40, 48)
        if packed:
            row["segmentation"] = {"size": [40, 48], "counts": runs["counts"].decode()}
            continue
        down = packer.decode(runs).ravel(order="F").astype(int)
        ends = np.flatnonzero(np.diff(down)) + 1
        lengths = np.diff([0, *ends, len(down)]).tolist()
        counts = [0, *lengths] if down[0] else lengths
        row["segmentation"] = {"size": [40, 48], "counts": counts}


@pytest.mark.parametrize("form", ["polygons", "plain", "packed"])
def test_outlines_of_each_form_become_the_masks_of_a_batch(
    code: Modules, tmp_path: Path, form: str
) -> None:
    rows = pictured(24)[1]["annotations"]
    if form != "polygons":
        as_runs(rows, packed=form == "packed")
    pictures = load(code, write_coco(tmp_path, annotations=rows))
    assert pictures.classes == NAMES
    images, boxes, classes, masks = pictures.batch_at(code["data"].Config(), 0, 4, 0)
    assert images.shape == (4, 1, 96, 96)
    assert masks.shape == (4, 2, 96, 96)
    assert masks.dtype == torch.bool
    each = images.repeat_interleave(2, 0), boxes.flatten(0, 1), classes.flatten()
    for image, box, number, mask in zip(*each, masks.flatten(0, 1), strict=True):
        left, top, right, bottom = box.round().int().tolist()
        assert mask[top + 1 : bottom - 1, left + 1 : right - 1].all()
        assert mask.sum() <= (right - left + 2) * (bottom - top + 2)
        # The class says which half is dark, so image, mask and class belong together.
        inner = image[0, top + 1 : bottom - 1, left + 1 : right - 1] * 127.5
        over_rows, over_columns = float(inner.mean(1).std()), float(inner.mean(0).std())
        if NAMES[number] == "ring":
            assert max(over_rows, over_columns) < 1
        else:
            assert (over_rows > over_columns) == (NAMES[number] == "bolt")


def test_an_annotation_without_an_outline_is_refused_with_its_place(
    code: Modules, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pictured(24)[1]["annotations"]
    del rows[5]["segmentation"]
    with pytest.raises(SystemExit):
        load(code, write_coco(tmp_path, annotations=rows))
    assert "annotations[5] has a segmentation that is neither" in capsys.readouterr().err


# Masks in their places


def test_a_mask_that_was_read_from_an_image_is_drawn_where_it_was(
    code: Modules, runtime: Readers
) -> None:
    rows, columns = torch.meshgrid(torch.arange(60), torch.arange(80), indexing="ij")
    truth = ((rows - 30) / 14) ** 2 + ((columns - 44) / 22) ** 2 <= 1
    box = torch.tensor([[22.0, 16, 67, 45]])
    model, zero = code["model"], torch.zeros(1, dtype=torch.int64)
    table = model.flattened([truth[None, None].float()])
    mask = model.roi_align(table, [(60, 80)], zero, zero, box, 28)[:, 0]
    drawn = runtime.instances.pasted(mask, box, (60, 80))[0]
    assert float((drawn & truth).sum() / (drawn | truth).sum()) > 0.97


def test_a_mask_that_reaches_out_of_an_image_is_cut(runtime: Readers) -> None:
    boxes = torch.tensor([[-10.0, -10, 10, 10], [90, 5, 200, 8]])
    drawn = runtime.instances.pasted(torch.ones(2, 4, 4), boxes, (20, 100))
    assert drawn.shape == (2, 20, 100)
    assert drawn[0, :9, :9].all()
    assert not drawn[0, 11:].any()
    assert drawn[1, 6:8, 91:].all()


def test_objects_are_listed_as_coco_reads_them(runtime: Readers) -> None:
    masks = torch.zeros(2, 30, 40, dtype=torch.bool)
    masks[0, 3:9, 5:20], masks[1, 20:, 38:] = True, True
    boxes = torch.tensor([[5.0, 3, 20, 9], [38, 20, 40, 30]])
    found = runtime.objects.Found(boxes, torch.tensor([0.9, 0.6]), torch.tensor([2, 0]), masks)
    rows = json.loads(json.dumps(runtime.instances.in_coco_form(found, NAMES)))
    assert [row["category"] for row in rows] == ["ring", "bolt"]
    assert rows[0]["bbox"] == [5, 3, 15, 6]
    for row, mask in zip(rows, masks, strict=True):
        assert np.array_equal(packer.decode(row["segmentation"]), mask.numpy())


# Scores and runs


def test_true_objects_score_one_and_shifted_masks_less(code: Modules, tmp_path: Path) -> None:
    pictures = load(code, write_coco(tmp_path))
    truth = pictures.truth("test")

    def found(move: int) -> list[Any]:
        made = code["eval"].Found
        return [made(t.boxes, torch.ones(len(t)), t.classes, t.masks.roll(move, -1)) for t in truth]

    rows = code["eval"].metrics(truth, {"model": found(0), "shifted": found(6)})
    assert [row["metric"] for row in rows] == list(mask_rcnn.task.metrics)
    assert all(row["value"] == pytest.approx(1) for row in rows)
    shifted = {row["metric"]: row["baselines"]["shifted"] for row in rows}
    assert shifted["map_mask"] < 0.7
    assert shifted["map_box"] == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.ci
def test_a_users_images_are_learned_scored_and_segmented(folder: Path, tmp_path: Path) -> None:
    data, out = write_coco(tmp_path / "data"), tmp_path / "out"
    chosen = ("--out", out, "--data", data, "--threads", 1)
    run(folder, "train", *chosen, "--steps", 2, "--schedule-steps", 4)
    run(folder, "train", *chosen, "--steps", 4, "--schedule-steps", 4, "--resume")
    report = json.loads(run(folder, "eval", *chosen))
    assert [row["metric"] for row in report["metrics"]] == list(mask_rcnn.task.metrics)
    assert {len(each["truth"]["objects"]) for each in report["figure"]["images"]} == {96}
    image = data / "images" / "0003.png"
    run(folder, "infer", "--out", out, "--threads", 1, "--input", image, "--least-score", 0.01)
    rows = json.loads((out / "0003.json").read_text())
    assert rows
    assert all(row["segmentation"]["size"] == [40, 48] for row in rows)
    with Image.open(out / "0003_drawn.png") as drawn:
        assert drawn.size[0] / drawn.size[1] == 48 / 40


@pytest.mark.slow
@pytest.mark.ci
def test_the_proxy_finds_more_than_fixed_boxes(tmp_path: Path) -> None:
    beats_its_baselines(SPEC, tmp_path, "evaluation.bench=quick", only="fixed boxes")
