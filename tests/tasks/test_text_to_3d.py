"""Text to 3D: mesh files of strangers, captions, solids, surfaces, scores and a run."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.family_code import modules_of, write_code
from helpers.point_settings import MODEL, SCRIPTS
from scipy.spatial import cKDTree

from metagen.families.point_diffusion import FAMILY

CUBE = np.array([[x, y, z] for x in (0, 2) for y in (0, 2) for z in (0, 2)], dtype=float)
SIDES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
HEAD = """\
ply
format {form} 1.0
comment by hand
element vertex 8
property float x
property float y
property float z
element face 6
property list uchar int vertex_indices
end_header
"""


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The generated modules at a tiny size."""
    folder = write_code(tmp_path_factory.mktemp("code"), FAMILY, {"model": MODEL, **SCRIPTS})
    with modules_of(folder) as modules:
        import runtime.meshes  # noqa: F401

        yield {**modules, "meshes": sys.modules["runtime.meshes"]}


def obj() -> bytes:
    lines = [f"v {x} {y} {z}" for x, y, z in CUBE] + ["vn 0 0 1", "mtllib ../../etc/passwd"]
    lines += [f"f {' '.join(f'{i + 1}//1' for i in side)}" for side in SIDES[:-1]]
    lines += ["f " + " \\\n".join(str(i - 8) for i in SIDES[-1])]
    return "\n".join(lines).encode()


def text_ply() -> bytes:
    rows = [" ".join(map(str, row)) for row in CUBE]
    rows += [f"4 {' '.join(map(str, side))}" for side in SIDES]
    return (HEAD.format(form="ascii") + "\n".join(rows)).encode()


def binary_ply(order: str = "little") -> bytes:
    sign = {"little": "<", "big": ">"}[order]
    faces = np.array([(4, side) for side in SIDES], dtype=[("n", "u1"), ("i", f"{sign}i4", 4)])
    head = HEAD.format(form=f"binary_{order}_endian").encode()
    return head + CUBE.astype(f"{sign}f4").tobytes() + faces.tobytes()


FORMS = {
    "a.obj": obj(),
    "b.ply": text_ply(),
    "c.ply": binary_ply(),
    "d.ply": binary_ply("big"),
}


@pytest.mark.parametrize("name", FORMS)
def test_each_form_of_a_cube_is_the_same_surface(code: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FORMS[name])
    surface = code["meshes"].read_mesh(tmp_path / name)
    assert len(surface.faces) == 12
    assert surface.areas().sum() == pytest.approx(24)
    fitted = surface.fitted()
    assert fitted.vertices.min() == -1
    assert fitted.vertices.max() == 1
    points = fitted.drawn(6000, np.random.default_rng(0))
    sides = np.isclose(np.abs(points), 1)
    assert (sides.sum(1) >= 1).all()
    # Each of the six sides has its share of the points.
    assert [(points[:, axis] == side).mean() for axis in range(3) for side in (-1, 1)] == (
        pytest.approx([1 / 6] * 6, abs=0.02)
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.obj", b"v 1 2\n", "a.obj line 1 is not OBJ"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "a vertex that does not exist, of 3"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2\n", "line 4 is not OBJ"),
        ("a.obj", b"v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "no usable number"),
        ("a.obj", b"v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n", "all its points are in one place"),
        ("a.obj", b"# nothing\n", "has no vertices"),
        ("a.ply", b"solid cube", "is no PLY file"),
        ("a.ply", text_ply()[:-30], "rows of 'face'"),
        ("a.ply", binary_ply()[:-9], "ends before its 6 rows of 'face'"),
        ("a.ply", binary_ply()[:200], "ends before its 8 rows of 'vertex'"),
        ("a.ply", text_ply().replace(b"vertex 8", b"vertex 99999999999"), "99,999,999,999"),
        ("a.ply", text_ply().replace(b"float x", b"float q"), "without x, y and z"),
        ("a.ply", text_ply().replace(b"float x", b"string x"), "a header line that is not PLY"),
        ("a.ply", text_ply().replace(b"4 0 1 3 2", b"-4 0 1 3 2"), "a face with 0 corners"),
        ("a.ply", text_ply().replace(b"0.0 0.0 2.0", b"0.0 x 2.0"), "that is no number"),
    ],
)
def test_a_broken_mesh_is_refused_in_a_sentence(
    code: Any,
    tmp_path: Path,
    name: str,
    content: bytes,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SystemExit) as caught:
        code["meshes"].read_mesh(tmp_path / name)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_a_cloud_is_written_and_read(code: Any, tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(50, 3))
    code["meshes"].write_cloud(tmp_path / "cloud.ply", points)
    surface = code["meshes"].read_mesh(tmp_path / "cloud.ply")
    assert not len(surface.faces)
    np.testing.assert_allclose(surface.vertices, points, atol=1e-6)
    assert len(np.unique(surface.drawn(50, np.random.default_rng(1)), axis=0)) == 50


@pytest.fixture
def shapes(code: Any, tmp_path: Path) -> Path:
    """Return a folder of cubes of many proportions, with captions beside them."""
    folder, draw = tmp_path / "shapes", np.random.default_rng(0)
    (folder / "boxes").mkdir(parents=True)
    for number in range(24):
        surface = sys.modules["runtime.primitives"].box()
        scaled = type(surface)(surface.vertices * draw.uniform(0.5, 2, 3), surface.faces)
        code["meshes"].write_obj(folder / f"boxes/{number}.obj", scaled)
        (folder / f"boxes/{number}.txt").write_text(f"box number\n {number % 3}\n")
    return folder


def listed(folder: Path, *rows: object) -> None:
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_captions_lie_beside_shapes_or_in_a_list(code: Any, shapes: Path) -> None:
    data = code["data"].load_shapes(code["data"].Config(), shapes)
    assert sum(map(len, data.splits.values())) == 24
    assert {c for split in data.splits.values() for c in split.captions} == {
        "box number 0", "box number 1", "box number 2",
    }  # fmt: skip
    rows = [{"file_name": f"boxes/{n}.obj", "text": f"a box of kind {n}"} for n in range(20)]
    listed(shapes, *rows)
    data = code["data"].load_shapes(code["data"].Config(), shapes)
    assert sum(map(len, data.splits.values())) == 20


def remove_texts(folder: Path) -> None:
    for path in folder.rglob("*.txt"):
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (remove_texts, "has no captions: write captions.jsonl"),
        (lambda f: listed(f, {"file_name": "../x.obj", "text": "a"}), "which is no shape in"),
        (lambda f: listed(f, {"file_name": "boxes/1.obj"}), 'must have "file_name" and "text"'),
        (lambda f: listed(f, *[{"file_name": "boxes/1.obj", "text": "a"}] * 2), "a second time"),
        (lambda f: (f / "boxes/1.txt").write_text(" \n"), "has no caption in valid Unicode"),
        (lambda f: (f / "boxes/1.txt").write_bytes(b"\xff"), "is not UTF-8 text"),
        (lambda f: (f / "boxes/1.txt").write_text("x" * 2**17), "is it a caption?"),
        (lambda f: [p.unlink() for p in f.rglob("*.obj")], "has no shapes (.obj, .ply)"),
    ],
)
def test_bad_captions_are_refused_in_a_sentence(
    code: Any,
    shapes: Path,
    spoil: Callable[[Path], Any],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(shapes)
    with pytest.raises(SystemExit) as caught:
        code["data"].load_shapes(code["data"].Config(), shapes)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_links_out_of_the_folder_are_refused(
    code: Any, shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shapes / "boxes/2.txt").unlink()
    (shapes / "boxes/2.txt").symlink_to("/etc/hostname")
    with pytest.raises(SystemExit):
        code["data"].load_shapes(code["data"].Config(), shapes)
    assert "is a link" in capsys.readouterr().err


def test_no_solid_and_no_test_caption_is_in_two_splits(code: Any) -> None:
    data = code["data"].solids()
    captions = {name: set(split.captions) for name, split in data.splits.items()}
    assert captions["val"] == captions["train"]
    assert not captions["test"] & captions["train"]
    assert len(captions["test"]) == 10
    # Each word of a caption is known from training.
    known = {word for caption in captions["train"] for word in caption.split()}
    assert known == {
        word for caption in captions["test"] | captions["train"] for word in caption.split()
    }
    solids = [
        {split.read(place).vertices.tobytes() for place in range(len(split))}
        for split in data.splits.values()
    ]
    assert len(set.union(*solids)) == sum(map(len, data.splits.values()))
    assert code["data"].solids().sha256 == data.sha256


def test_an_epoch_sees_other_points_and_a_resumed_run_the_same(code: Any) -> None:
    split, config = code["data"].solids().splits["train"], code["model"].Config(**MODEL)
    at = code["data"].batch_at
    whole = at(split, 4, 4, config, 7)[0]
    torch.testing.assert_close(at(split, 6, 2, config, 7)[0], whole[2:])
    assert not torch.equal(split.cloud(3, 8, 7, 0), split.cloud(3, 8, 7, 1))


def test_the_chamfer_distance_is_that_of_nearest_neighbours(code: Any) -> None:
    a, b = torch.randn(2, 30, 3), torch.randn(2, 20, 3)
    found = code["eval"].chamfer(a, b)
    for own, one, two in zip(found, a.numpy(), b.numpy(), strict=True):
        there, back = cKDTree(two).query(one)[0], cKDTree(one).query(two)[0]
        assert float(own) == pytest.approx((there**2).mean() + (back**2).mean(), rel=1e-4)
    torch.testing.assert_close(
        code["eval"].between(a, a[:1])[:, 0], code["eval"].chamfer(a, a[[0, 0]])
    )


def test_coverage_counts_test_shapes_that_are_nearest_to_a_drawn_one(code: Any) -> None:
    test = torch.randn(4, 20, 3) + 10 * torch.arange(4).view(4, 1, 1)
    assert code["eval"].covered(test, test).tolist() == [1, 1, 1, 1]
    assert code["eval"].covered(test[[2, 2, 2, 0]], test).tolist() == [1, 0, 1, 0]


def test_the_nearest_caption_follows_the_costs_of_words(code: Any) -> None:
    near, draw = code["eval"].nearest_caption, torch.Generator().manual_seed(0)
    known = ["small red box", "large red ball", "large blue box"]
    costs = dict.fromkeys(["small", "large", "red", "blue", "box", "ball"], 1.0)
    assert near(known, ["small blue box"], {**costs, "red": 0.1}, draw).tolist() == [0]
    assert near(known, ["large red box"], {**costs, "box": 3, "ball": 3}, draw).tolist() == [2]


@pytest.mark.parametrize("shape", ["sphere", "box", "cone", "disc"])
def test_a_mesh_around_points_is_closed_and_about_as_large(code: Any, shape: str) -> None:
    pytest.importorskip("skimage")
    true = sys.modules["runtime.primitives"].SHAPES[shape]()
    mesh = code["infer"].mesh_around(true.drawn(512, np.random.default_rng(0)), 32)
    edges = np.sort(np.concatenate([mesh.faces[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))]), 1)
    assert set(np.unique(edges, axis=0, return_counts=True)[1].tolist()) == {2}
    volume, size = volume_of(mesh), abs(volume_of(true))
    assert volume > 0, "triangles face outwards"
    assert shape == "disc" or volume == pytest.approx(size, rel=0.35)


def volume_of(surface: Any) -> float:
    a, b, c = (surface.vertices[surface.faces[:, corner]] for corner in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def ran(code: Any, monkeypatch: pytest.MonkeyPatch, name: str, *options: object) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--threads", "1", *map(str, options)])
    code[name].main()


@pytest.mark.slow
@pytest.mark.ci
def test_a_run_on_your_shapes_is_scored_and_drawn(
    code: Any,
    shapes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    where = ("--out", tmp_path / "out")
    ran(code, monkeypatch, "train", "--data", shapes, *where)
    capsys.readouterr()
    ran(code, monkeypatch, "eval", "--data", shapes, *where)
    report = json.loads(capsys.readouterr().out)
    distance, coverage, nearest = report["metrics"]
    assert "nearest caption, fitted" in distance["baselines"]
    assert 0 <= coverage["value"] <= 1
    assert nearest["status"] == "no score"
    assert {"caption", "real", "drawn"} == report["figure"]["clouds"][0].keys()
    pytest.importorskip("skimage")
    ran(code, monkeypatch, "infer", "--prompt", "box number 1", *where)
    for number in (1, 2):
        mesh = code["meshes"].read_mesh(tmp_path / f"out/shape-{number}.obj")
        assert len(mesh.faces) > 10
    monkeypatch.setattr(sys, "argv", ["data.py", "--data", str(shapes)])
    code["data"].main()
    shown = capsys.readouterr().out
    assert "24 meshes with 16 triangles at least, 16 at most" in shown
    assert "left out" not in shown
