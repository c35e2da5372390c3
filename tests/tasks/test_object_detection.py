"""Object detection: COCO files of a user, boxes that vary, scenes, and a run."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.detection_settings import MODEL, NAMES, TINY, Modules, pictured, write_coco
from helpers.family_code import beats_its_baselines, modules_of, write_code
from helpers.readers import Readers
from PIL import Image

from metagen import paths
from metagen.families.yolox import FAMILY as yolox

SPEC = paths.specs() / "image/object_detector_yolo.yaml"


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Modules]:
    with modules_of(write_code(tmp_path_factory.mktemp("code"), yolox, TINY)) as modules:
        yield modules


def load(code: Modules, folder: Path) -> Any:
    return code["data"].load_scenes(code["data"].Config(), folder, code["model"].Config(**MODEL))


# The user's folder


def test_boxes_are_scaled_with_their_images_which_keep_their_proportions(
    code: Modules, tmp_path: Path
) -> None:
    pictures = load(code, write_coco(tmp_path))
    assert pictures.classes == NAMES
    assert sum(map(len, pictures.splits.values())) == 24
    assert all(pictures.splits.values())
    scale = min(32 / 40, 64 / 48)
    image, objects = pictures.sample("train", 0)
    assert image.shape == (1, 32, 64)
    assert image[0, :, round(48 * scale) :].unique().tolist() == [114]
    source = pictures.splits["train"][0]
    torch.testing.assert_close(objects.boxes, source.boxes * scale)
    for left, top, right, bottom in objects.boxes.round().int().tolist():
        assert image[0, top + 2 : bottom - 2, left + 2 : right - 2].min() >= 140
        assert image[0, top - 2, left:right].max() <= 60


def roboflow(folder: Path) -> None:
    for start, split in ((0, "train"), (10, "valid"), (16, "test")):
        images, table = pictured(6, start)
        (folder / split).mkdir()
        (folder / split / "_annotations.coco.json").write_text(json.dumps(table))
        for image, row in zip(images, table["images"], strict=True):
            Image.fromarray(image).save(folder / split / row["file_name"])


def like_coco(folder: Path) -> None:
    (folder / "annotations").mkdir()
    for split in ("train", "val", "test"):
        # The names of images are the same in each folder.
        images, table = pictured(6)
        (folder / f"{split}2017").mkdir()
        text = json.dumps(table)
        (folder / "annotations" / f"instances_{split}2017.json").write_text(text)
        captions = {"images": table["images"], "annotations": [{"caption": "a bolt"}]}
        (folder / "annotations" / f"captions_{split}2017.json").write_text(json.dumps(captions))
        for image, row in zip(images, table["images"], strict=True):
            Image.fromarray(image).save(folder / f"{split}2017" / row["file_name"])


@pytest.mark.parametrize("write", [roboflow, like_coco])
def test_files_that_are_named_after_splits_are_these_splits(
    code: Modules, tmp_path: Path, write: Callable[[Path], None]
) -> None:
    write(tmp_path)
    pictures = load(code, tmp_path)
    assert {s: len(each) for s, each in pictures.splits.items()} == dict.fromkeys(
        pictures.splits, 6
    )
    for split, every in pictures.splits.items():
        assert {each.path.parent.name[:3] for each in every} == {split[:3]}


def test_crowds_are_not_learned_and_empty_boxes_are_left_out_with_a_note(
    code: Modules, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, table = pictured(24)
    rows = table["annotations"]
    rows[0]["iscrowd"] = 1
    rows[1]["bbox"] = [4, 4, 0, 9]
    rows[2]["bbox"] = [99, 4, 5, 9]
    rows[3]["bbox"] = [40, 30, 20, 20]
    pictures = load(code, write_coco(tmp_path, annotations=rows))
    said = capsys.readouterr().err
    assert "1 boxes have no width or no height" in said
    assert "1 boxes lie outside of their image" in said
    assert "1 boxes reach out of their image and are cut" in said
    found = {each.path.name: each for split in pictures.splits.values() for each in split}
    assert found["0000.png"].crowd.tolist() == [True]
    assert found["0001.png"].boxes.tolist() == [[40, 30, 48, 40]]
    objects = type(pictures.truth("train")[0])(
        torch.tensor([[0.0, 0, 9, 9], [5, 5, 8, 8]]),
        torch.tensor([1, 2]),
        torch.tensor([True, False]),
    )
    assert objects.single().classes.tolist() == [2]


def first(which: str, /, **changed: Any) -> dict[str, Any]:
    """Return a list of the table whose first row has other entries; None removes one."""
    _, table = pictured(24)
    row = {**table[which][0], **changed}
    rows = [{k: v for k, v in row.items() if v is not None}, *table[which][1:]]
    return {which: rows}


def corners() -> dict[str, Any]:
    _, table = pictured(24)
    for row in table["annotations"]:
        left, top, width, height = row["bbox"]
        row["bbox"] = [left + 20, top + 20, left + width + 20, top + height + 20]
    return {"annotations": table["annotations"]}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (first("images", file_name="../../etc/passwd"), "is no image below"),
        (first("images", file_name="/etc/passwd"), "is no image below"),
        (first("images", file_name="0001.png"), "are one file"),
        (first("images", file_name=None), "has no file_name"),
        (first("images", id=1), "has the id 1 of another image"),
        (first("images", id=None), "must be an object with an id"),
        (first("images", height=48, width=40), "its boxes would be in wrong places"),
        (first("annotations", image_id=99), "has image_id '99', and no image has that id"),
        (first("annotations", category_id=7), "has category_id '7', and no category has that id"),
        (first("annotations", bbox=[1, 2, 3]), "has no bbox of four numbers"),
        (first("annotations", bbox=[1, 2, "3", 4]), "has no bbox of four numbers"),
        (first("annotations", bbox=[1, 2, 10**400, 4]), "has no bbox of four numbers"),
        (first("annotations", bbox=[1, 2, float("nan"), 4]), "has no bbox of four numbers"),
        (first("annotations", iscrowd=2), "has an iscrowd that is neither 0 nor 1"),
        (first("categories", id=20), "two categories have the id 20"),
        (first("categories", name="nut"), "two categories have the name 'nut'"),
        (first("categories", name=" "), "a category has no name"),
        ({"categories": [{"id": n, "name": str(n)} for n in (10, 20, 30, 40)]}, "has 4 classes"),
        ({"annotations": []}, "no image of train has an object"),
        ({"images": []}, "lists no image"),
        ({"images": {}}, "has no JSON file with COCO's lists"),
        (corners(), "boxes reach out of their image: a bbox is left, top, width and height"),
    ],
)
def test_files_of_a_wrong_form_end_in_a_sentence(
    code: Modules,
    tmp_path: Path,
    changed: dict[str, Any],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        load(code, write_coco(tmp_path, **changed))
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda p: (p / "annotations.json").write_text('{"images": ['), "cannot be read as JSON"),
        (lambda p: (p / "annotations.json").write_text("[" * 100_000), "cannot be read as JSON"),
        (lambda p: (p / "annotations.json").write_bytes(b"\xff\xfe"), "cannot be read as JSON"),
        (lambda p: (p / "annotations.json").unlink(), "has no JSON file with COCO's lists"),
        (lambda p: (p / "more.json").write_bytes((p / "annotations.json").read_bytes()), "keep"),
        (lambda p: (p / "images" / "0000.png").write_bytes(b"no image"), "as an image"),
        (lambda p: (p / "images" / "0000.png").unlink(), "is no image below"),
        (lambda p: (p / "outside").symlink_to("/etc"), "leads out of"),
    ],
)
def test_damaged_folders_end_in_a_sentence(
    code: Modules,
    tmp_path: Path,
    harm: Callable[[Path], Any],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    harm(write_coco(tmp_path))
    with pytest.raises(SystemExit):
        load(code, tmp_path)
    assert said in capsys.readouterr().err


# Boxes and variations


def test_overlaps_are_those_of_counted_pixels(code: Modules) -> None:
    boxes = code["model"].iou.__globals__
    draw = torch.Generator().manual_seed(1)
    corners_ = torch.randint(0, 20, (40, 2, 2), generator=draw).sort(dim=1).values
    every = torch.cat([corners_[:, 0], corners_[:, 1] + 1], dim=1)  # (40, 4)
    masks = torch.zeros(40, 24, 24, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, every.tolist(), strict=True):
        mask[top:bottom, left:right] = True
    both = (masks[:, None] & masks).sum((2, 3))
    either = (masks[:, None] | masks).sum((2, 3))
    own = boxes["iou"](every[:, None].float(), every.float())
    torch.testing.assert_close(own, both / either)


def test_generalized_overlap_takes_off_what_the_hull_has_beside_the_boxes(runtime: Readers) -> None:
    del runtime  # puts templates/ on the path
    from layers.boxes import from_centres, giou, to_centres

    one, two = torch.tensor([0.0, 0, 4, 4]), torch.tensor([6.0, 0, 8, 4])
    assert float(giou(one, two)) == pytest.approx(0 - (32 - 24) / 32)
    assert float(giou(one, one)) == pytest.approx(1)
    torch.testing.assert_close(from_centres(to_centres(two)), two)


def test_mirrored_and_zoomed_boxes_are_where_their_objects_are(runtime: Readers) -> None:
    image = torch.full((1, 40, 60), 50, dtype=torch.uint8)
    image[:, 10:20, 12:32] = 250
    masks = (image == 250).clone()
    objects = runtime.objects.Objects(
        torch.tensor([[12.0, 10, 32, 20]]), torch.tensor([1]), torch.tensor([False]), masks
    )
    changes = [runtime.objects.mirrored(image, objects)]
    for numbers in ((0.9, 0.5, 0.5), (0.1, 0.9, 0.2)):
        changes.append(runtime.objects.zoomed(image, objects, 1.5, numbers))
    for pixels, moved in changes:
        left, top, right, bottom = moved.boxes[0].tolist()
        rows, columns = torch.nonzero(pixels[0] > 180, as_tuple=True)
        near = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
        assert [left, top, right, bottom] == pytest.approx(near, abs=1)
        assert moved.masks.sum() == pytest.approx((right - left) * (bottom - top), rel=0.15)
    gone = runtime.objects.zoomed(image, objects, 3.0, (0.99, 0.99, 0.99))[1]
    assert len(gone) == 0


# Scripts


def test_a_training_scores_and_draws_what_it_finds(
    code: Modules, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    folder, out = write_coco(tmp_path / "data"), tmp_path / "out"

    def run(script: str, *options: object) -> str:
        line = [f"{script}.py", "--out", out, "--threads", 1, *options]
        monkeypatch.setattr(sys, "argv", [str(each) for each in line])
        code[script].main()
        return capsys.readouterr().out

    run("train", "--data", folder)
    saved = json.loads((out / "checkpoint" / "config.json").read_text())
    assert [saved["id2label"][str(n)] for n in range(3)] == [*NAMES]
    report = json.loads(run("eval", "--data", folder))
    assert [row["metric"] for row in report["metrics"]] == ["map", "map_50", "map_75"]
    baselines = report["metrics"][1]["baselines"]
    # Bright rectangles are what the second baseline is made for.
    assert baselines["components and nearest"] > 0.6 > baselines["fixed boxes"]
    photo = tmp_path / "photo.png"
    Image.fromarray(np.full((80, 100, 3), 90, np.uint8)).save(photo)
    said = run("infer", "--input", photo, "--least-score", "0.0001")
    assert str(out / "photo.json") in said
    rows = json.loads((out / "photo.json").read_text())
    assert rows
    for row in rows:
        left, top, width, height = row["bbox"]
        assert row["category"] in NAMES
        assert -0.1 <= left <= left + width <= 160.1
        assert -0.1 <= top <= top + height <= 80.1
    with Image.open(out / "photo_drawn.png") as drawn:
        assert drawn.size == (500, 400)
    (tmp_path / "page.html").write_text("<p>")
    with pytest.raises(SystemExit):
        run("infer", "--input", tmp_path / "page.html")


def test_the_figure_draws_each_image_twice(code: Modules) -> None:
    from matplotlib.figure import Figure

    scope: dict[str, Any] = {"__name__": "outcome"}
    exec(paths.source("templates/tasks/object_detection/outcome.py").read_text(), scope)
    box = {"box": [1.0, 1, 5, 5], "name": "$ price"}
    image = {"pixels": ["00" * 8] * 8, "truth": [box], "found": []}
    figure = Figure(figsize=(5, 2.6))
    scope["draw"](figure, {"kind": "boxes", "images": [image, image, image]})
    figure.canvas.draw()
    assert len(figure.axes) == 6


@pytest.mark.slow
def test_scenes_share_neither_digits_nor_places_and_are_the_same_each_time(
    runtime: Readers,
) -> None:
    scenes = runtime.scenes
    slices = [set(range(500)[scenes.DIGITS[split]]) for split in scenes.SCENES]
    assert not slices[0] & slices[1]
    assert not (slices[0] | slices[1]) & slices[2]
    splits, sha256 = scenes.compose()
    assert sha256 == scenes.compose()[1]
    for scene in splits["test"]:
        for box, mask in zip(scene.boxes.astype(int), scene.masks, strict=True):
            rows, columns = np.nonzero(mask)
            near = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert box.tolist() == near


@pytest.mark.slow
@pytest.mark.ci
def test_the_proxy_beats_fixed_boxes(tmp_path: Path) -> None:
    beats_its_baselines(SPEC, tmp_path, only="fixed boxes")
