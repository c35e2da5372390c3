"""The U-Net: an independent formula's masks, sized to the budget, on slices or on your masks."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from family_code import TRAIN, Held, beats_its_baselines, modules_of, write_code
from PIL import Image
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from metagen import families, paths
from metagen.blueprint import sizing
from metagen.families import segmentation_unet as unet
from metagen.families.family import Need
from metagen.families.segmentation_unet_load import forward_flops
from metagen.families.trend import rows
from metagen.measure.probe_worker import _by_torch
from metagen.spec import load

PUBLISHED = paths.source("data/published_models.csv").read_bytes()
SPEC = paths.specs() / "image/semantic_segmentation_unet.yaml"
MODEL = {
    "in_channels": 1,
    "num_classes": 3,
    "base_channels": 4,
    "max_channels": 10,
    "n_levels": 3,
    "image_height": 16,
    "image_width": 24,
}
TINY = {
    "model": MODEL,
    "data": {
        "crop": 8,
        "augmentation": "dihedral",
        "val_fraction": 0.2,
        "test_fraction": 0.2,
        "gap": 2,
    },
    "train": TRAIN,
    "eval": {"batch_size": 4, "baseline_images": 100},
    "infer": {"opacity": 0.5, "weight_bits": 16},
}
PAPER = {
    "in_channels": 1,
    "num_classes": 2,
    "base_channels": 64,
    "max_channels": 1024,
    "n_levels": 5,
    "image_height": 512,
    "image_width": 512,
}
Modules = dict[str, ModuleType]


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Modules]:
    folder = write_code(tmp_path_factory.mktemp("code"), unet, TINY)
    with modules_of(folder) as modules:
        yield modules


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Return 4 scans of each of 12 patients; a bright square is class 1, a grey one 2."""
    draw = np.random.default_rng(0)
    for patient in range(12):
        for kind in ("images", "masks"):
            (tmp_path / kind / f"p{patient}").mkdir(parents=True)
        for scan in range(4):
            image, mask = draw.integers(0, 40, (16, 24)), np.zeros((16, 24))
            for number, brightness in ((1, 220), (2, 120)):
                y, x = draw.integers(0, 12), draw.integers(0, 20)
                image[y : y + 4, x : x + 4], mask[y : y + 4, x : x + 4] = brightness, number
            mask[0, 0] = 255
            for kind, pixels in (("images", image), ("masks", mask)):
                path = tmp_path / kind / f"p{patient}" / f"{scan}.png"
                Image.fromarray(pixels.astype(np.uint8)).save(path)
    return tmp_path


def dims(row: dict[str, str]) -> dict[str, int]:
    names = {"base_channels": "d_model", "max_channels": "ffn", "n_levels": "n_layers"}
    return {**PAPER, **{ours: int(row[theirs]) for ours, theirs in names.items()}}


def test_the_closed_form_gives_the_counts_of_the_table() -> None:
    table = {row["model"]: row for row in rows(PUBLISHED, "segmentation")}
    assert unet.count(dims(table["U-Net"])) == int(table["U-Net"]["params_exact"])
    hub = {**dims(table["U-Net brain-segmentation"]), "in_channels": 3, "num_classes": 1}
    assert f"{unet.count(hub) / 1e6:.2f}M" == table["U-Net brain-segmentation"]["params_published"]


@pytest.mark.parametrize(
    "change", [{}, {"n_levels": 2, "max_channels": 8}, {"in_channels": 3, "base_channels": 5}]
)
def test_counts_and_operations_are_those_of_the_code(code: Modules, change: dict) -> None:
    sizes = {**MODEL, **change}
    with torch.device("meta"):
        model = code["model"].Model(code["model"].Config(**sizes))
        images = torch.empty(unet.example(sizes, 1)[0]["shape"])
    assert model.num_params() == unet.count(sizes)
    assert sum(_by_torch(model, (images,)).values()) == forward_flops(sizes)
    assert model(images).shape == (1, sizes["num_classes"], 16, 24)


def test_the_activations_are_what_the_code_holds_at_most(code: Modules) -> None:
    sizes = PAPER | {"num_classes": 21, "in_channels": 3}
    with FakeTensorMode():
        model = code["model"].Model(code["model"].Config(**sizes)).eval()
        images = torch.empty(unet.example(sizes, 1)[0]["shape"])
        with Held(model.parameters()) as held, torch.inference_mode():
            model(images)
    assert held.most == 2 * unet.load(sizes).activations  # float32 here, bf16 in infer.py


@pytest.mark.parametrize("budget", [3e5, 2e6, 8e6, 31.1e6, 60e6, 500e6])
def test_a_budget_is_filled_and_kept(budget: float) -> None:
    need = Need(int(budget), int(0.99 * budget))
    design = sizing.search(unet, need, unet.fit(PUBLISHED, need.parameters))
    assert 0.97 <= design.parameters / budget <= 1


def test_the_papers_size_gives_the_papers_network() -> None:
    need = Need(31_100_000, 30_800_000, pins={"in_channels": 1, "num_classes": 2})
    design = sizing.search(unet, need, unet.fit(PUBLISHED, need.parameters))
    assert design.dims == PAPER


def test_an_image_that_halves_less_often_gets_fewer_levels() -> None:
    pins = {"image_height": 500, "image_width": 348}  # 4 x 125 and 4 x 87
    need = Need(5_000_000, 4_900_000, pins=pins)
    design = sizing.search(unet, need, unet.fit(PUBLISHED, need.parameters))
    assert design.dims["n_levels"] == 3


def test_images_to_masks_are_routed_here() -> None:
    key = load(SPEC).key
    assert families.route(key) == "segmentation_unet"
    assert unet.fixed(key) == {"image_height": 256, "image_width": 224, "num_classes": 3}


def convolved(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return a padded 3 x 3 convolution and a rectifier, as a sum over the nine shifts."""
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    height, width = x.shape[2:]
    out = bias[None, :, None, None]
    for i in range(3):
        for j in range(3):
            window = padded[:, :, i : i + height, j : j + width]
            out = out + torch.einsum("bchw,oc->bohw", window, weight[:, :, i, j])
    return out.clamp(min=0)


def doubled(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return a 2 x 2 up-convolution: each pixel becomes four, by a matrix each."""
    blocks = torch.einsum("bchw,coij->bohiwj", x, weight)
    height, width = x.shape[2:]
    return blocks.reshape(len(x), -1, 2 * height, 2 * width) + bias[None, :, None, None]


def pooled(x: Tensor) -> Tensor:
    return x.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).amax((3, 5))


def formula(images: Tensor, state: dict[str, Tensor], levels: int) -> Tensor:
    """Return the logits of figure 1 of arXiv:1505.04597, with padded convolutions."""

    def block(x: Tensor, name: str) -> Tensor:
        for part in ("conv1", "conv2"):
            x = convolved(x, state[f"{name}.{part}.weight"], state[f"{name}.{part}.bias"])
        return x

    seen = [block(images, "stem")]
    seen += [seen[-1]]
    for level in range(levels - 1):
        seen[-1] = block(pooled(seen[-1]), f"downs.{level}.conv")
        seen += [seen[-1]]
    x, beside = seen[-1], seen[: levels - 1]
    for level in range(levels - 1):
        up = doubled(x, state[f"ups.{level}.up.weight"], state[f"ups.{level}.up.bias"])
        x = block(torch.cat((beside[-1 - level], up), 1), f"ups.{level}.conv")
    head = torch.einsum("bchw,oc->bohw", x, state["head.weight"][:, :, 0, 0])
    return head + state["head.bias"][None, :, None, None]


def test_logits_and_gradients_are_those_of_the_formula(code: Modules) -> None:
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config(**MODEL))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    images, masks = torch.randn(2, 1, 16, 24), torch.randint(-1, 3, (2, 16, 24))
    copies = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters()}
    wanted = formula(images, copies, MODEL["n_levels"])
    torch.testing.assert_close(model(images), wanted, atol=1e-5, rtol=1e-5)
    loss, counted = code["train"].pixel_loss(model, (images, masks))
    logs = wanted.log_softmax(1).gather(1, masks.clamp(min=0)[:, None])[:, 0]
    theirs = -logs[masks >= 0].mean()
    torch.testing.assert_close(loss, theirs)
    assert counted == int((masks >= 0).sum())
    loss.backward()
    theirs.backward()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, copies[name].grad, atol=1e-6, rtol=1e-3, msg=name)


def test_an_image_of_void_alone_has_no_loss(code: Modules) -> None:
    model = code["model"].Model(code["model"].Config(**MODEL))
    assert model(torch.zeros(1, 1, 16, 24), torch.full((1, 16, 24), -1)) == 0


def test_scores_are_those_counted_by_hand(code: Modules) -> None:
    truth = torch.tensor([[0, 0, 1, 1, 2, -1]])
    found = torch.tensor([[0, 1, 1, 1, 0, 2]])
    table = code["eval"].confusion(found, truth, 3)
    assert table.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert code["eval"].dice(table) == pytest.approx((2 * 2 / 5 + 0) / 2)
    assert code["eval"].mean_iou(table) == pytest.approx((1 / 3 + 2 / 3 + 0) / 3)


def test_the_scans_of_a_patient_stay_together_and_void_does_not_count(
    code: Modules, scans: Path
) -> None:
    config = code["model"].Config(**MODEL)
    data = code["data"].load_scenes(code["data"].Config(), scans, config)
    patients = {s: {image.parent.name for image, _ in each} for s, each in data.splits.items()}
    assert sum(map(len, patients.values())) == 12
    assert sum(map(len, data.splits.values())) == 48
    image, mask = data.pair("train", 0)
    assert image.shape == (1, 16, 24)
    assert mask[0, 0] == -1
    assert set(mask.unique().tolist()) <= {-1, 0, 1, 2}


def test_images_and_masks_are_cut_and_turned_alike(code: Modules, scans: Path) -> None:
    config = code["model"].Config(**MODEL)
    settings = code["data"].Config(**TINY["data"])
    data = code["data"].load_scenes(settings, scans, config)
    images, masks = code["data"].batch_at(data, settings, 3, 40, seed=1)
    assert images.shape == (40, 1, 8, 8)
    bright = images[:, 0] > 0.5  # 220 of 255 and nothing else: class 1, or void
    assert ((masks[bright] == 1) | (masks[bright] == -1)).all()
    assert (masks == 1).any()
    again = code["data"].batch_at(data, settings, 13, 30, seed=1)
    assert torch.equal(images[10:], again[0])
    assert torch.equal(masks[10:], again[1])


def test_bundled_splits_keep_a_gap(code: Modules) -> None:
    parts = code["data"]._parts(141, code["data"].Config(**TINY["data"]))
    places = sorted((number, split) for split, each in parts.items() for number in each)
    steps = [b[0] - a[0] for a, b in itertools.pairwise(places) if a[1] != b[1]]
    assert len(steps) == 3
    assert min(steps) == TINY["data"]["gap"] + 1


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "masks/p1/2.png").unlink(), "has no mask"),
        (lambda f: paint(f, np.full((16, 24), 3)), "holds class 3"),
        (lambda f: paint(f, np.zeros((16, 24, 3))), "holds colours"),
        (lambda f: (f / "masks/p1/2.png").write_text("no image"), "cannot be read"),
        (lambda f: (f / "images").rename(f / "pictures"), "no folder with images"),
    ],
)
def test_bad_masks_are_refused_in_a_sentence(
    code: Modules, scans: Path, spoil: object, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(scans)

    def read() -> None:
        settings, config = code["data"].Config(), code["model"].Config(**MODEL)
        data = code["data"].load_scenes(settings, scans, config)
        for split, each in data.splits.items():
            data.batch(split, range(len(each)))

    with pytest.raises(SystemExit) as caught:
        read()
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def paint(folder: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels.astype(np.uint8)).save(folder / "masks/p1/2.png")


def test_a_run_on_your_masks_is_scored_and_drawn(
    code: Modules,
    scans: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    common = ["--data", str(scans), "--out", str(scans / "out"), "--threads", "1"]
    for script, options in (
        ("train", ["--steps", "120", "--batch-size", "8", "--learning-rate", "0.01"]),
        ("eval", []),
        ("infer", ["--input", str(scans / "images/p3/1.png")]),
    ):
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *common, *options])
        capsys.readouterr()
        code[script].main()
        if script == "eval":
            report = json.loads(capsys.readouterr().out)
    dice, iou = report["metrics"]
    assert dice["value"] > dice["baselines"]["all background"] == 0
    assert dice["baselines"]["brightness"] > 0.9
    assert iou["value"] > iou["baselines"]["all background"]
    assert len(report["figure"]["rows"]) == 2
    mask = np.array(Image.open(scans / "out/1_mask.png"))
    assert mask.shape == (16, 24)
    assert mask.max() < 3
    assert np.array(Image.open(scans / "out/1_drawn.png")).shape == (16, 24, 3)


@pytest.mark.slow
def test_the_proxy_beats_brightness_on_the_bundled_slices(tmp_path: Path) -> None:
    pytest.importorskip("nilearn")
    beats_its_baselines(SPEC, tmp_path)
