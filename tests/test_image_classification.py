"""The code that classifies images: equal to transformers, on data that does not leak."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from family_code import modules_of, write_code
from image_shapes import FAMILIES, SHAPES
from PIL import Image
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification

from metagen import paths
from metagen.cli import main
from metagen.families import resnet_load

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


def write_package(folder: Path, family: str, shape: dict[str, Any], **changed: Any) -> Path:
    """Write code/ of a family at tiny sizes; `changed` are fields of the data."""
    sizes = {"model": shape, **SETTINGS, "data": SETTINGS["data"] | changed}
    folder.mkdir(parents=True, exist_ok=True)
    return write_code(folder, FAMILIES[family], sizes)


@contextlib.contextmanager
def code_of(folder: Path) -> Iterator[SimpleNamespace]:
    """Import the scripts of a folder; `run` calls one with options."""
    with modules_of(folder) as found:

        def run(name: str, *options: object) -> None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "argv", [f"{name}.py", *map(str, options)])
                found[name].main()

        images = importlib.import_module("runtime.images")
        yield SimpleNamespace(**found, images=images, run=run)


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
    copied = tmp_path / "train" / "left" / "again.png"
    copied.write_bytes((tmp_path / "validation" / "left" / "000.png").read_bytes())
    images = data.data.load_images(data.data.Config(), tmp_path, data.model.Config())
    sizes = {split: len(images.splits[split].targets) for split in data.data.SPLITS}
    assert sizes["val"] == 6
    assert sizes["test"] == 8
    assert sizes["train"] == 32  # without the one that is in the validation split


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


def test_an_image_of_16_bits_keeps_its_shades(data: SimpleNamespace, tmp_path: Path) -> None:
    shades = torch.arange(0, 2**16, 1024).reshape(8, 8).to(torch.int32)
    Image.fromarray(shades.numpy().astype("uint16")).save(tmp_path / "scan.png")
    found = data.images.read_image(tmp_path / "scan.png", (8, 8), 1)
    assert found.flatten().tolist() == (shades.flatten() >> 8).tolist()


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


def benchmark(name: str, folder: Path, bench: str) -> dict[str, dict[str, Any]]:
    """Build a package and return the results of its proxy by metric."""
    spec = paths.specs() / "image" / f"{name}.yaml"
    line = ["synth", str(spec), "--out", str(folder), "--run-id", name, f"evaluation.bench={bench}"]
    done = CliRunner().invoke(main, line)
    assert done.exit_code == 0, done.output
    rows = json.loads((folder / f"run-{name}" / "benchmarks" / "results.json").read_text())
    return {row["metric"]: row for row in rows if row["status"] == "measured"}


def beaten(row: dict[str, Any]) -> set[str]:
    sign = 1 if row["higher_is_better"] else -1
    return {name for name, value in row["baselines"].items() if sign * (row["value"] - value) > 0}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param("image_vit_base", marks=pytest.mark.ci), "image_classifier_resnet"]
)
def test_a_proxy_learns_more_than_how_frequent_the_digits_are(name: str, tmp_path: Path) -> None:
    for row in benchmark(name, tmp_path, "quick").values():
        assert "majority" in beaten(row)
        if "resnet" in name:
            assert beaten(row) == row["baselines"].keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["image_vit_base", "image_classifier_resnet"])
def test_a_longer_training_beats_every_baseline(name: str, tmp_path: Path) -> None:
    found = benchmark(name, tmp_path, "full")
    assert found.keys() == {"accuracy", "macro_f1", "log_loss"}
    for row in found.values():
        assert beaten(row) == row["baselines"].keys()


@pytest.mark.slow
@pytest.mark.ci
def test_replicas_and_shards_keep_one_set_of_running_statistics(
    folder: Path, tmp_path: Path
) -> None:
    code = write_package(tmp_path / "code", "resnet", SHAPES["resnet"]["square"])
    found = {}
    for mode in ("ddp", "fsdp"):
        launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
        options = ("--data", folder, "--threads", 1, "--parallel", mode, "--out", tmp_path / mode)
        line = [sys.executable, *launcher, "train.py", *map(str, options)]
        subprocess.run(
            line, cwd=code, check=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        found[mode] = load_file(tmp_path / mode / "checkpoint" / "model.safetensors")
        lines = (tmp_path / mode / "metrics.jsonl").read_text().splitlines()
        found[mode]["validation"] = torch.tensor(json.loads(lines[-1])["val_loss"])
    assert found["ddp"].keys() == found["fsdp"].keys()
    for name, tensor in found["ddp"].items():
        torch.testing.assert_close(found["fsdp"][name], tensor, **CLOSE)
