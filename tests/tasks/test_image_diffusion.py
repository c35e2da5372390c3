"""Image diffusion: images and captions, noise and guidance, the averaged weights, and a run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.diffusion_settings import FAMILIES, LARGE, SCRIPTS, SMALL, Modules
from helpers.family_code import beats_its_baselines, modules_of, write_code
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from metagen.errors import SpecError
from metagen.tasks.image_diffusion import noise_schedule


@pytest.fixture(scope="module", params=FAMILIES)
def code(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The generated modules of a family at a tiny size."""
    family, model = FAMILIES[request.param]
    folder = write_code(tmp_path_factory.mktemp("code"), family, {"model": model, **SCRIPTS})
    with modules_of(folder) as modules:
        yield modules


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder of red and of blue squares, a folder a class."""
    draw = np.random.default_rng(0)
    for channel, name in ((0, "red"), (2, "blue")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(60):
            pixels = draw.integers(0, 60, (10, 12, 3))
            pixels[..., channel] += 180
            path = tmp_path / "pictures" / name / f"{number}.png"
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    return tmp_path / "pictures"


def fits(code: Modules, model: dict[str, Any]) -> bool:
    return set(model) == set(code["model"].Config.__dataclass_fields__)


def test_splits_that_folders_name_stay(code: Modules, pictures: Path) -> None:
    config, model = code["data"].Config(), code["model"].Config()
    whole = code["data"].load_images(config, pictures, model)
    for folder in sorted(path for path in pictures.iterdir() if path.is_dir()):
        for place, file in enumerate(sorted(folder.iterdir())):
            target = pictures / ("Test" if place < 3 else "Train") / folder.name / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            file.rename(target)
        folder.rmdir()
    cut = code["data"].load_images(config, pictures, model)
    assert cut.classes == whole.classes
    assert len(cut.splits["test"]) == 3 * len(whole.classes)
    assert sum(map(len, cut.splits.values())) == sum(map(len, whole.splits.values()))


def test_captions_come_from_metadata(code: Modules, pictures: Path) -> None:
    lines = [
        {"file_name": f"{name}/{n}.png", "text": f"a {name} square"}
        for name in ("red", "blue")
        for n in range(60)
    ]
    (pictures / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    config = code["model"].Config(**next(m for _, m in FAMILIES.values() if fits(code, m)))
    data = code["data"].load_images(code["data"].Config(), pictures, config)
    assert data.classes == ["a blue square", "a red square"]


def test_captions_come_from_a_csv_too(code: Modules, pictures: Path) -> None:
    names = [f"{name}/{n}.png" for name in ("red", "blue") for n in range(60)]
    lines = [f"{name},{name[:3]} square" for name in names]
    (pictures / "metadata.csv").write_text("\n".join(["file_name,text", *lines]))
    config = code["model"].Config(**next(m for _, m in FAMILIES.values() if fits(code, m)))
    data = code["data"].load_images(code["data"].Config(), pictures, config)
    assert data.classes == ["blu square", "red square"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "metadata.jsonl").write_text("{"), "metadata.jsonl:1 is not a JSON object"),
        (lambda f: (f / "metadata.jsonl").write_text('{"file_name": "x.png"}'), '1 has no "text"'),
        (
            lambda f: (f / "metadata.jsonl").write_text('{"file_name": "../x", "text": "y"}'),
            "which is not a file in",
        ),
        (lambda f: (f / "red/1.png").rename(f / "1.png"), "1.png has no caption"),
        (lambda f: (f / "red/1.png").write_text("no image"), "cannot be read as an image"),
        (lambda f: [p.unlink() for p in f.rglob("*.png")], "not a folder with images"),
    ],
)
def test_bad_images_are_refused_in_a_sentence(
    code: Modules, pictures: Path, spoil: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(pictures)
    config = code["model"].Config(**next(m for _, m in FAMILIES.values() if fits(code, m)))

    def read() -> None:
        data = code["data"].load_images(code["data"].Config(), pictures, config)
        for split in data.splits.values():
            split.images(range(len(split)))

    with pytest.raises(SystemExit) as caught:
        read()
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_a_noise_schedule_that_the_code_lacks_is_an_error() -> None:
    key = {"training.config.noise_schedule": "sigmoid"}.get
    with pytest.raises(SpecError, match="'sigmoid' is not available"):
        noise_schedule(key)


@pytest.mark.parametrize(
    ("ours", "theirs"), [("linear", "linear"), ("cosine", "squaredcos_cap_v2")]
)
def test_noise_and_ddim_are_those_of_diffusers(code: Modules, ours: str, theirs: str) -> None:
    diffusers = pytest.importorskip("diffusers")
    noise = sys.modules["runtime.diffusion"]
    left = noise.signal(ours, 1000)
    scheduler = diffusers.DDIMScheduler(
        beta_schedule=theirs, beta_start=1e-4, beta_end=0.02, clip_sample=True
    )
    torch.testing.assert_close(left, scheduler.alphas_cumprod, atol=1e-6, rtol=1e-4)
    x, steps = torch.randn(2, 1, 4, 4), 4

    def predict(images: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.sin(3 * images + t.view(-1, 1, 1, 1))

    found = noise.sample(predict, x, left, steps)
    scheduler.set_timesteps(steps)
    for level in noise.sampling_levels(1000, steps):
        level_of_all = torch.full((2,), level)
        step = scheduler.step(predict(x, level_of_all), level, x, use_clipped_model_output=True)
        x = step.prev_sample
    torch.testing.assert_close(found, step.pred_original_sample, atol=1e-4, rtol=1e-3)


def test_guidance_leads_away_from_no_caption(code: Modules) -> None:
    noise = sys.modules["runtime.diffusion"]
    told, nothing = torch.tensor([5.0, 7.0]), torch.tensor([1.0, 1.0])

    def model(x: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return x + c.view(-1, 1, 1, 1)

    x, t = torch.zeros(2, 1, 1, 1), torch.zeros(2)
    one, three = (noise.guided(model, told, nothing, w)(x, t).flatten() for w in (1, 3))
    assert one.tolist() == [5, 7]
    assert three.tolist() == [1 + 3 * 4, 1 + 3 * 6]


def test_the_average_forgets_at_its_rate_and_leaves_the_weights_alone(code: Modules) -> None:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 0.0)
    average = sys.modules["runtime.ema"].Average(layer, 0.9)
    nn.init.constant_(layer.weight, 1.0)
    average.update(1000)
    assert average.weights["weight"].item() == pytest.approx(0.1)
    average.update(0)
    assert average.weights["weight"].item() == pytest.approx(0.91)
    with average.in_place() as raw:
        assert layer.weight.item() == pytest.approx(0.91)
        assert raw["weight/raw"].item() == 1
    assert layer.weight.item() == 1


def ran(code: Modules, monkeypatch: pytest.MonkeyPatch, name: str, *options: object) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--threads", "1", *map(str, options)])
    code[name].main()


def test_a_checkpoint_holds_the_average_and_keeps_the_raw_weights_for_training(
    code: Modules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(code, monkeypatch, "train", "--out", tmp_path)
    averaged, raw = (
        load_file(tmp_path / "checkpoint" / f"{name}.safetensors")
        for name in ("model", "optimizer/state")
    )
    assert {f"{name}/raw" for name in averaged} <= raw.keys()
    assert not averaged["conv_out.weight"].equal(raw["conv_out.weight/raw"])


@pytest.mark.slow
@pytest.mark.ci
def test_a_run_on_your_images_is_scored_and_drawn(
    code: Modules,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    common = ("--data", pictures, "--out", tmp_path / "out")
    ran(code, monkeypatch, "train", *common)
    capsys.readouterr()
    ran(code, monkeypatch, "eval", *common)
    report = json.loads(capsys.readouterr().out)
    distance, accuracy, nearest = report["metrics"]
    assert distance["baselines"]["real training images"] < distance["baselines"]["noise"]
    assert accuracy["baselines"]["class Gaussian"] == 1
    assert nearest["status"] == "no score"
    assert nearest["higher_is_better"] is None
    assert nearest["baselines"].keys() == {"real test images"}
    assert [len(row) for row in report["figure"]["rows"]] == [9, 9]
    ran(code, monkeypatch, "infer", "--out", tmp_path / "out", "--prompt", "red")
    image = Image.open(tmp_path / "out/samples.png")
    assert image.size == (2 * 66, 66)


@pytest.mark.slow
@pytest.mark.parametrize("spec", [pytest.param(SMALL, marks=pytest.mark.ci), LARGE])
def test_the_proxy_beats_noise_in_its_few_steps(spec: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    beats_its_baselines(spec, tmp_path, only="noise")


@pytest.mark.slow
@pytest.mark.parametrize("spec", [SMALL, LARGE])
def test_the_proxy_beats_the_gaussian_of_each_class_where_it_trains_longer(
    spec: Path, tmp_path: Path
) -> None:
    pytest.importorskip("sklearn")
    beats_its_baselines(spec, tmp_path, "evaluation.bench=full", only="class Gaussian")
