"""Image classifiers: exact counts, equality with transformers, data that does not leak, results."""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from generated import forget
from PIL import Image
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification

from metagen import paths
from metagen.blueprint.sizing import search
from metagen.code.bundle import bundle
from metagen.code.package import runtime_files
from metagen.errors import SpecError
from metagen.families import resnet, resnet_load, vit
from metagen.families.family import Need
from metagen.families.tasks import image_classification
from metagen.families.trend import rows

FAMILIES = {"vit": vit, "resnet": resnet}
PUBLISHED = paths.source("data/published_models.csv").read_bytes()
SHAPES: dict[str, dict[str, dict[str, Any]]] = {
    "vit": {
        "square": {
            "image_height": 8, "image_width": 8, "patch_size": 2, "num_channels": 1,
            "num_classes": 10, "d_model": 32, "n_layers": 2, "n_heads": 4, "d_ff": 48,
            "norm_eps": 1e-6,
        },
        "wide, in colours": {
            "image_height": 12, "image_width": 18, "patch_size": 6, "num_channels": 3,
            "num_classes": 3, "d_model": 24, "n_layers": 3, "n_heads": 1, "d_ff": 40,
            "norm_eps": 1e-3,
        },
    },
    "resnet": {
        "square": {
            "image_height": 32, "image_width": 32, "num_channels": 1, "num_classes": 10,
            "width": 4, "depth_1": 1, "depth_2": 1, "depth_3": 1, "depth_4": 1,
        },
        "odd, in colours": {
            "image_height": 45, "image_width": 70, "num_channels": 3, "num_classes": 3,
            "width": 6, "depth_1": 2, "depth_2": 1, "depth_3": 3, "depth_4": 2,
        },
    },
}  # fmt: skip
CASES = [(family, shape) for family, shapes in SHAPES.items() for shape in shapes]
DATA = {"val_fraction": 0.1, "test_fraction": 0.2, "pixel_mean": 0.5, "pixel_std": 0.25}
SETTINGS: dict[str, dict[str, Any]] = {
    "data": DATA | {"crop_padding": 1, "flip": False},
    "train": {
        "steps": 6, "batch_size": 12, "grad_accum": 1, "learning_rate": 3e-3, "warmup_steps": 2,
        "final_lr_share": 0.1, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.99, "grad_clip": 1.0,
        "eval_every": 3, "eval_batches": 2, "save_every": 100, "dtype": "float32", "seed": 42,
        "label_smoothing": 0.1,
    },
    "eval": {"batch_size": 256, "baseline_side": 8, "baseline_images": 20000},
    "infer": {"top": 2, "samples": 3, "dtype": "bfloat16"},
}  # fmt: skip
CLOSE = {"atol": 1e-4, "rtol": 0.0}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute small things on one thread, which is quicker beside other tests."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def published(family: str) -> list[dict[str, str]]:
    return [row for row in rows(PUBLISHED, family) if row["arch"] != "resnet18"]


def vit_dims(row: dict[str, str]) -> dict[str, Any]:
    names = {"d_model": "d_model", "n_layers": "n_layers", "n_heads": "n_heads", "ffn": "d_ff"}
    shape = {ours: int(row[theirs]) for theirs, ours in names.items()}
    image = {"image_height": 224, "image_width": 224, "num_channels": 3, "num_classes": 1000}
    return image | shape | {"patch_size": int(row["patch"]), "norm_eps": 1e-6}


def resnet_dims(row: dict[str, str]) -> dict[str, Any]:
    depths = {f"depth_{n}": int(d) for n, d in enumerate(row["n_layers"].split("-"), 1)}
    image = {"image_height": 224, "image_width": 224, "num_channels": 3, "num_classes": 1000}
    return image | {"width": int(row["d_model"]) // 32} | depths


@pytest.mark.parametrize(
    ("name", "parameters"), [("ViT-B/16", 86_567_656), ("ResNet-50", 25_557_032)]
)
def test_published_dimensions_give_published_counts(name: str, parameters: int) -> None:
    row = next(r for f in ("ViT", "ResNet") for r in published(f) if r["model"] == name)
    count = vit.count(vit_dims(row)) if "ViT" in name else resnet.count(resnet_dims(row))
    assert count == parameters == int(row["params_exact"])


def test_every_count_of_the_table_is_that_of_its_dimensions() -> None:
    table = [(vit.count(vit_dims(row)), row) for row in published("ViT")]
    table += [(resnet.count(resnet_dims(row)), row) for row in published("ResNet")]
    assert len(table) >= 17
    for count, row in table:
        assert count == int(row["params_exact"]), row["model"]


def sized(family: Any, budget: float, **fixed: Any) -> Any:
    need = Need(int(budget), int(0.99 * budget), pins=fixed, fixed=fixed)
    return search(family, need, family.fit(PUBLISHED, need.parameters))


@pytest.mark.parametrize("budget", [1e5, 1e6, 5.8e6, 22e6, 86.6e6, 305e6, 1e9, 10e9])
def test_a_vision_transformer_fills_its_budget_and_never_exceeds_it(budget: float) -> None:
    for pins in ({}, {"num_classes": 2, "image_height": 64, "image_width": 96}):
        assert 0.97 * budget <= sized(vit, budget, **pins).parameters <= budget


@pytest.mark.parametrize("budget", [1e6, 5e6, 11e6, 25.6e6, 44.6e6, 100e6, 390e6, 1e9])
def test_a_residual_network_fills_its_budget_and_never_exceeds_it(budget: float) -> None:
    for pins in ({}, {"num_classes": 2}):
        assert 0.97 * budget <= sized(resnet, budget, **pins).parameters <= budget


def test_published_shapes_come_back_at_their_budgets() -> None:
    found = sized(resnet, 25.6e6).dims
    assert [found[f"depth_{n}"] for n in (1, 2, 3, 4)] == [3, 4, 6, 3]
    assert found["width"] == 64
    small = sized(vit, 22.06e6).dims
    assert (small["d_model"], small["n_layers"], small["n_heads"], small["d_ff"]) == (
        384, 12, 6, 1536,
    )  # fmt: skip


def test_small_images_are_cut_in_small_patches() -> None:
    sides = {8: 1, 32: 4, 64: 8, 96: 12, 224: 16, 384: 16}
    for side, patch in sides.items():
        found = sized(vit, 5e6, image_height=side, image_width=side)
        assert found.dims["patch_size"] == patch


@pytest.mark.parametrize("declared", [None, True, False, ("random_crop",), ("mixup", "flip")])
def test_images_are_mirrored_only_where_the_spec_asks_for_it(declared: Any) -> None:
    values = {"training.config.data_augmentation": declared, "reproducibility.seed": 1}
    made = {
        reduced: vit.sections(SHAPES["vit"]["square"], values.get, reduced=reduced)["data"]
        for reduced in (False, True)
    }
    asked = declared is True or (isinstance(declared, tuple) and "flip" in declared)
    assert made[False]["flip"] is asked
    assert made[True]["flip"] is False  # the proxy reads digits
    assert (made[False]["crop_padding"] > 0) is (declared in (None, True, ("random_crop",)))


def test_a_patch_that_is_no_square_is_refused() -> None:
    with pytest.raises(SpecError, match=r"constraints\.patch_size: \[16, 8\] is no square"):
        vit.fixed({"constraints.patch_size": (16, 8)}.get)
    fixed = image_classification.fixed({"constraints.image_size": (32, 64)}.get)
    assert fixed == {"image_height": 32, "image_width": 64}


def write_package(folder: Path, family: str, shape: dict[str, Any], **changed: Any) -> Path:
    """Write code/ of a family at tiny sizes; `changed` are fields of the data."""
    task = FAMILIES[family].task_folder
    sizes = {"model": shape, **SETTINGS, "data": SETTINGS["data"] | changed}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "runtime").mkdir()
    for name, values in sizes.items():
        template = f"templates/code/models/{family}.py" if name == "model" else f"{task}/{name}.py"
        text = bundle(template, lambda n: paths.source(n).read_bytes(), values)
        (folder / f"{name}.py").write_bytes(text)
    for path in runtime_files(FAMILIES[family]):
        text = paths.source(f"templates/{path}").read_bytes()
        (folder / "runtime" / Path(path).name).write_bytes(text)
    (folder / "config.json").write_text(json.dumps({"full": sizes, "proxy": sizes}))
    return folder


@contextlib.contextmanager
def code_of(folder: Path) -> Iterator[SimpleNamespace]:
    """Import the scripts of a folder; `run` calls one with options."""
    before = forget()
    sys.path.insert(0, str(folder))
    names = ("model", "data", "train", "eval", "infer")
    try:
        found = {name: importlib.import_module(name) for name in names}

        def run(name: str, *options: object) -> None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "argv", [f"{name}.py", *map(str, options)])
                found[name].main()

        images = importlib.import_module("runtime.images")
        yield SimpleNamespace(**found, images=images, run=run)
    finally:
        sys.path.remove(str(folder))
        forget()
        sys.modules.update(before)


@pytest.fixture(scope="module", params=SHAPES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def code(family: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    folder = write_package(tmp_path_factory.mktemp(family), family, SHAPES[family]["square"])
    with code_of(folder) as found:
        yield found


def model_of(module: ModuleType, shape: dict[str, Any]) -> Any:
    return module.Model(module.Config(**shape))


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_closed_forms_equal_what_torch_counts(name: str, shape: str, tmp_path: Path) -> None:
    dims, family = SHAPES[name][shape], FAMILIES[name]
    with code_of(write_package(tmp_path / "code", name, dims)) as code, torch.device("meta"):
        model = model_of(code.model, dims).eval()
        images = torch.empty(family.example(dims, 1)[0]["shape"])
        with FlopCounterMode(display=False) as counter:
            model(images)
    assert family.count(dims) == model.num_params()
    assert family.load(dims).first.flops == counter.get_total_flops()
    floats = [t for t in model.state_dict().values() if t.is_floating_point()]
    assert family.load(dims).weights == 2 * sum(t.numel() for t in floats)
    if name == "resnet":
        buffers = [b for b in model.buffers() if b.is_floating_point()]
        assert resnet_load.statistics(dims) == sum(b.numel() for b in buffers)


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def pair(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[tuple[Any, Any]]:
    """Our model and transformers' with the same tensors, drawn so that errors show."""
    name, shape = request.param
    dims = SHAPES[name][shape]
    with code_of(write_package(tmp_path_factory.mktemp("code"), name, dims)) as code:
        torch.manual_seed(0)
        ours = model_of(code.model, dims)
        with torch.no_grad():
            for key, tensor in ours.state_dict().items():
                if tensor.is_floating_point():
                    spread = 0.5 if key.endswith("running_var") else 1.5
                    scaled = tensor * spread if tensor.dim() > 1 else tensor
                    noise = 0.1 * torch.randn_like(tensor)
                    tensor.copy_(scaled + (noise.abs() if "running_var" in key else noise))
        known = dims | ours.checkpoint_config() | {"num_labels": dims["num_classes"]}
        config = AutoConfig.for_model(known.pop("model_type"), **known)
        config._attn_implementation = "eager"  # the plain formula, not a kernel that we use too
        theirs = AutoModelForImageClassification.from_config(config)
        theirs.load_state_dict({ours.checkpoint_name(n): t for n, t in ours.state_dict().items()})
        yield ours, theirs


def images_for(model: Any, count: int = 5) -> torch.Tensor:
    c = model.config
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, c.num_channels, c.image_height, c.image_width, generator=generator)


@pytest.mark.parametrize("training", [False, True])
def test_logits_and_gradients_equal_those_of_transformers(
    pair: tuple[Any, Any], training: bool
) -> None:
    ours, theirs = (model.train(training) for model in pair)
    assert [type(theirs).__name__] == ours.checkpoint_config()["architectures"]
    images, targets = images_for(ours), torch.tensor([0, 1, 2, 1, 0])
    found, expected = ours(images), theirs(images).logits
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, **CLOSE)
    for logits, model in ((found, ours), (expected, theirs)):
        model.zero_grad()
        F.cross_entropy(logits, targets).backward()
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[ours.checkpoint_name(name)], **CLOSE)
    statistics = dict(theirs.named_buffers())
    for name, buffer in ours.named_buffers():
        torch.testing.assert_close(buffer, statistics[ours.checkpoint_name(name)])


def write_images(folder: Path, count: int = 30, side: int = 12) -> Path:
    """Write two classes of images, one bright on the left and one on the right."""
    for label, start in (("left", 0), ("right", side // 2)):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            pixels = torch.randint(
                40, (side, side), generator=torch.Generator().manual_seed(number)
            )
            pixels[:, start : start + side // 2] += 200
            image = Image.fromarray(pixels.to(torch.uint8).numpy())
            image.save(folder / label / f"{number:03}.png")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


def test_a_folder_becomes_a_checkpoint_that_labels_and_opens_in_transformers(
    code: SimpleNamespace, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--data", folder, "--out", tmp_path, "--threads", 1)
    code.run("data", "--data", folder)
    assert "2 classes" in capsys.readouterr().out
    code.run("train", *options, "--steps", 25)
    code.run("eval", *options)
    report = json.loads(capsys.readouterr().out)
    scores = {metric["metric"]: metric for metric in report["metrics"]}
    assert scores["accuracy"]["value"] > scores["accuracy"]["baselines"]["majority"] == 0.5
    assert scores["accuracy"]["baselines"]["logistic regression"] == 1.0
    assert report["n"] == 12
    assert report["figure"]["labels"] == ["left", "right"]
    assert sum(map(sum, report["figure"]["values"])) == 12

    photo = folder / "left" / "000.png"
    code.run("infer", *options, "--input", photo, "--top", 1)
    assert capsys.readouterr().out.startswith(f"{photo}: left ")
    code.run("infer", *options)
    assert capsys.readouterr().out.count("validation image") == 3

    theirs = AutoModelForImageClassification.from_pretrained(tmp_path / "checkpoint")
    assert theirs.config.id2label == {0: "left", 1: "right"}
    processor = AutoImageProcessor.from_pretrained(tmp_path / "checkpoint")
    config = code.model.Config(**{**asdict(code.model.Config()), "num_classes": 2})
    build = lambda: code.model.Model(config)  # noqa: E731
    ours = code.infer.load_model(build, tmp_path / "checkpoint")
    with Image.open(photo) as file:
        prepared = processor(file, return_tensors="pt")["pixel_values"]
    size = (config.image_height, config.image_width)
    pixels = code.images.read_image(photo, size, config.num_channels)
    normalized = code.data.normalized(pixels, code.data.Config())
    torch.testing.assert_close(prepared[0], normalized, atol=1e-6, rtol=0.0)
    with torch.no_grad():
        torch.testing.assert_close(theirs(prepared).logits, ours(prepared), **CLOSE)


def tensors(out: Path) -> dict[str, torch.Tensor]:
    files = (out / "checkpoint" / f"{name}.safetensors" for name in ("model", "optimizer"))
    return {f"{file.stem}/{k}": v for file in files for k, v in load_file(file).items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(one[key].equal(two[key]) for key in one)


def test_a_stopped_run_goes_on_to_the_same_bits(
    code: SimpleNamespace, folder: Path, tmp_path: Path
) -> None:
    options = ("--data", folder, "--threads", 1, "--schedule-steps", 6)
    code.run("train", *options, "--out", tmp_path / "straight", "--steps", 6)
    code.run("train", *options, "--out", tmp_path / "stopped", "--steps", 2)
    code.run("train", *options, "--out", tmp_path / "stopped", "--steps", 6, "--resume")
    assert same(tensors(tmp_path / "straight"), tensors(tmp_path / "stopped"))


def test_gradient_checkpointing_changes_no_bit_nor_statistic(
    code: SimpleNamespace, folder: Path, tmp_path: Path
) -> None:
    options = ("--data", folder, "--threads", 1, "--steps", 3)
    code.run("train", *options, "--out", tmp_path / "plain")
    code.run("train", *options, "--out", tmp_path / "again", "--grad-checkpoint")
    assert same(tensors(tmp_path / "plain"), tensors(tmp_path / "again"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The scripts of one family, for what is the same in both."""
    folder = tmp_path_factory.mktemp("data") / "code"
    with code_of(write_package(folder, "vit", SHAPES["vit"]["square"])) as found:
        yield found


def test_the_cut_is_stratified_and_keeps_equal_images_together(data: SimpleNamespace) -> None:
    targets = [0] * 100 + [1] * 40
    keys = [f"{n % 90:04}" for n in range(140)]
    splits = data.data.stratified(targets, keys, {"val": 0.1, "test": 0.2})
    assert (
        data.data.stratified(targets[::-1], keys[::-1], {"val": 0.1, "test": 0.2}) == splits[::-1]
    )
    places: dict[tuple[int, str], set[str]] = {}
    for target, key, split in zip(targets, keys, splits, strict=True):
        places.setdefault((target, key), set()).add(split)
    assert all(len(each) == 1 for each in places.values())
    for target, distinct in ((0, 90), (1, 40)):
        found = [split for (t, _), (split,) in places.items() if t == target]
        assert (found.count("val"), found.count("test")) == (distinct // 10, distinct // 5)


def test_the_digits_are_whole_and_their_splits_share_no_image(data: SimpleNamespace) -> None:
    images = data.data.load_images(data.data.Config(), None, data.model.Config())
    sizes = {split: len(each.targets) for split, each in images.splits.items()}
    assert sum(sizes.values()) == 1797
    assert sizes["test"] == pytest.approx(360, abs=2)
    seen = {s: {x.numpy().tobytes() for x in each.pixels} for s, each in images.splits.items()}
    assert (
        not seen["train"] & seen["test"] | seen["train"] & seen["val"] | seen["val"] & seen["test"]
    )


def test_a_folder_of_splits_is_taken_as_it_is_and_what_lacks_is_cut_from_train(
    data: SimpleNamespace, tmp_path: Path
) -> None:
    write_images(tmp_path / "train", 20)
    write_images(tmp_path / "validation", 3, side=14)
    images = data.data.load_images(data.data.Config(), tmp_path, data.model.Config())
    assert [len(images.splits[s].targets) for s in ("train", "val", "test")] == [32, 6, 8]


def test_how_a_sample_is_varied_follows_from_its_position_alone(
    data: SimpleNamespace, folder: Path
) -> None:
    config = data.data.Config(**DATA, crop_padding=3, flip=True)
    split = data.data.load_images(config, folder, data.model.Config()).splits["train"]
    whole, targets = data.data.batch_at(split, 10, 12, 0, config, 7)
    parts = [data.data.batch_at(split, start, 4, start + 4, config, 7) for start in (10, 14, 18)]
    assert torch.equal(whole, torch.cat([part[0] for part in parts]))
    assert torch.equal(targets, torch.cat([part[1] for part in parts]))
    again, _ = data.data.batch_at(split, 10 + len(split.targets), 12, 0, config, 7)
    assert not torch.equal(whole, again)


def test_the_baselines_are_those_of_scikit_learn(data: SimpleNamespace) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score, log_loss
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import StandardScaler

    config = data.eval.Config()
    images = data.data.load_images(data.data.Config(), None, data.model.Config())
    scores = dict(data.eval.baselines(images, lambda: images, config))
    train, test = (images.splits[split] for split in ("train", "test"))
    known, asked = (data.eval.flat_pixels(split, config).numpy() for split in (train, test))
    scaler = StandardScaler().fit(known)
    theirs = LogisticRegression(max_iter=500).fit(scaler.transform(known), train.targets)
    expected = theirs.predict_proba(scaler.transform(asked))
    found = scores["logistic regression"]
    assert data.eval.log_loss(found, test.targets) == pytest.approx(
        log_loss(test.targets, expected), rel=0.01
    )
    assert data.eval.macro_f1(found, test.targets) == pytest.approx(
        f1_score(test.targets, found.argmax(-1), average="macro")
    )
    nearest = KNeighborsClassifier(1).fit(known, train.targets).predict(asked)
    assert scores["1-NN"].argmax(-1).tolist() == nearest.tolist()


def broken(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def build(path: Path) -> None:
        write_images(path, 10)
        make(path)

    return build


BAD_DATA: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing there": (lambda path: None, "is no folder; it must hold a folder of images for each"),
    "a file": (lambda path: path.write_text("x"), "is no folder"),
    "empty": (lambda path: path.mkdir(), "is no folder with images (.png, .jpg"),
    "an image outside": (
        broken(lambda p: Image.new("L", (9, 9)).save(p / "stray.png")),
        "stray.png lies in no class",
    ),
    "one class": (
        broken(lambda p: (p / "left").rename(p / "right" / "left")),
        "has the class right only",
    ),
    "a file that is none": (
        broken(lambda p: (p / "left" / "000.png").write_bytes(b"not a PNG")),
        "000.png cannot be read as an image",
    ),
    "too few": (lambda path: write_images(path, 1), "has too few images: none is left for the"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_is_refused_in_one_sentence(
    data: SimpleNamespace, case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, sentence = BAD_DATA[case]
    make(tmp_path / "images")
    with pytest.raises(SystemExit) as ended:
        data.run("data", "--data", tmp_path / "images")
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence in said


def test_the_full_model_keeps_its_number_of_classes(
    data: SimpleNamespace, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        data.run("train", "--size", "full", "--data", folder, "--out", tmp_path)
    assert "the data has 2 classes, and the full model tells 10 apart" in capsys.readouterr().err


def test_a_checkpoint_of_other_classes_is_refused(
    data: SimpleNamespace, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data.run("train", "--data", folder, "--out", tmp_path, "--steps", 1, "--threads", 1)
    with pytest.raises(SystemExit):
        data.run("eval", "--out", tmp_path)
    assert "was trained on other classes than those of digits" in capsys.readouterr().err


def test_a_photo_is_turned_upright_and_cut_to_its_middle(
    data: SimpleNamespace, tmp_path: Path
) -> None:
    image = Image.new("RGB", (30, 10), (255, 0, 0))
    image.paste((0, 255, 0), (10, 0, 20, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright: rows are columns
    image.save(tmp_path / "photo.png", exif=exif)
    found = data.images.read_image(tmp_path / "photo.png", (8, 8), 3)
    assert found.shape == (3, 8, 8)
    red, green, blue = found.flatten(1).float().mean(1).tolist()
    assert green > 240 > 15 > red
    assert blue == 0


def test_images_that_do_not_fit_in_memory_are_read_again(
    data: SimpleNamespace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = data.images.image_files(folder)
    whole = data.images.ImageFiles(files, (8, 8), 1)[range(len(files))]
    monkeypatch.setattr(data.images, "KEPT_BYTES", 10 * 64)
    some = data.images.ImageFiles(files, (8, 8), 1)
    for start in (0, 20, 5, 40):
        indices = [*range(start, start + 15), start]
        some.expect(range(30))
        assert torch.equal(some[indices], whole[indices])
    assert len(some._kept) == 10
