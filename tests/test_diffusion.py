"""Both diffusion models: published counts, diffusers' outputs, exact resume, your own images."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from family_code import TRAIN, beats_its_baselines, modules_of, write_code
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from metagen import families, paths
from metagen.blueprint import sizing
from metagen.errors import SpecError
from metagen.families import latent_unet, latent_unet_load, unet_diffusion
from metagen.families.family import Need
from metagen.families.tasks import image_diffusion
from metagen.families.trend import rows
from metagen.families.unet import two_layers
from metagen.measure.probe_worker import _by_torch
from metagen.spec import load

PUBLISHED = paths.source("data/published_models.csv").read_bytes()
SMALL = paths.specs() / "image/image_diffusion_small.yaml"
LARGE = paths.specs() / "image/image_diffusion_sdxl_like.yaml"
SCRIPTS = {
    "data": {
        "noise_schedule": "cosine",
        "timesteps": 50,
        "val_fraction": 0.1,
        "test_fraction": 0.3,
    },
    "train": {**TRAIN, "ema_decay": 0.9, "unconditional_probability": 0.2},
    "eval": {
        "samples": 40,
        "batch_size": 40,
        "sampling_steps": 2,
        "guidance": 1.0,
        "side": 8,
        "components": 8,
        "references": 100,
        "seed": 42,
    },
    "infer": {
        "samples": 2,
        "sampling_steps": 2,
        "guidance": 2.0,
        "seed": 42,
        "dtype": "bfloat16",
    },
}
PIXELS = {
    **unet_diffusion.PROXY,
    "base_channels": 8,
    "embedding_dim": 16,
    "norm_groups": 4,
}
LATENTS = {
    **latent_unet.PROXY,
    "patch_size": 2,
    "base_channels": 8,
    "head_dim": 4,
    "embedding_dim": 16,
    "norm_groups": 4,
    "text_width": 8,
}
# Of arXiv:2006.11239 on CIFAR-10, and of arXiv:2307.01952 with a text as wide as its two encoders.
DDPM: dict[str, Any] = {
    "image_height": 32,
    "image_width": 32,
    "image_channels": 3,
    "num_classes": 10,
    "base_channels": 128,
    "n_levels": 4,
    "max_multiplier": 2,
    "blocks_per_level": 2,
    "attention_level": 1,
    "embedding_dim": 512,
    "norm_groups": 32,
    "dropout": 0.1,
}
SDXL: dict[str, Any] = {
    "image_height": 256,
    "image_width": 256,
    "image_channels": 1,
    "patch_size": 2,
    "base_channels": 320,
    "n_levels": 3,
    "blocks_per_level": 2,
    "upper_layers": 2,
    "lowest_layers": 10,
    "head_dim": 64,
    "embedding_dim": 1280,
    "norm_groups": 32,
    "text_length": 77,
    "text_width": 2048,
    "text_layers": 1,
    "text_heads": 32,
    "vocab_size": 257,
}
FAMILIES = {"unet_diffusion": (unet_diffusion, PIXELS), "latent_unet": (latent_unet, LATENTS)}
Modules = dict[str, ModuleType]


@pytest.fixture(scope="module", params=FAMILIES)
def code(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The generated modules of a family at a tiny size."""
    family, model = FAMILIES[request.param]
    folder = write_code(tmp_path_factory.mktemp("code"), family, {"model": model, **SCRIPTS})
    with modules_of(folder) as modules:
        yield modules


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModuleType]:
    """The module model.py of each family."""
    found = {}
    for name, (family, model) in FAMILIES.items():
        folder = write_code(tmp_path_factory.mktemp(name), family, {"model": model, **SCRIPTS})
        with modules_of(folder) as modules:
            found[name] = modules["model"]
    return found


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


def test_published_dimensions_give_the_published_counts() -> None:
    table = {row["model"]: int(row["params_exact"]) for row in rows(PUBLISHED, "pixel-diffusion")}
    classes = 11 * 512  # which DDPM has none of
    assert unet_diffusion.count(DDPM) - classes == table["DDPM CIFAR-10"] == 35_746_307
    table = {row["model"]: int(row["params_exact"]) for row in rows(PUBLISHED, "latent-diffusion")}
    # SDXL's embedding also sees the size and the crop: 2,816 numbers.
    found = latent_unet_load.net(SDXL).count() + two_layers(2816, 1280)
    assert found == table["SDXL base"] == 2_567_463_684


CHANGES = {
    "unet_diffusion": [
        {},
        {"n_levels": 3, "attention_level": 0, "max_multiplier": 4, "blocks_per_level": 2},
        {"image_channels": 3, "num_classes": 7, "image_height": 16},
        DDPM,
    ],
    "latent_unet": [
        {},
        {"n_levels": 3, "upper_layers": 2, "lowest_layers": 3},
        {"image_channels": 3, "patch_size": 1, "text_layers": 3, "text_length": 20},
        SDXL,
    ],
}


@pytest.mark.parametrize(
    ("name", "change"), [(name, each) for name, every in CHANGES.items() for each in every]
)
def test_counts_and_operations_are_those_of_the_code(
    models: dict[str, ModuleType], name: str, change: dict[str, Any]
) -> None:
    family, sizes = FAMILIES[name]
    sizes = {**sizes, **change}
    with torch.device("meta"):
        model = models[name].Model(models[name].Config(**sizes)).eval()
        inputs = [
            torch.empty(each["shape"], dtype=getattr(torch, each["dtype"]))
            for each in family.example(sizes, 1)
        ]
    assert model.num_params() == family.count(sizes)
    load = family.load({**sizes, "sampling_steps": 1})
    assert sum(_by_torch(model, tuple(inputs)).values()) == load.first.flops / load.passes


def random_weights(module: nn.Module) -> None:
    """Draw all weights, those that start at zero too."""
    torch.manual_seed(0)
    for weight in module.parameters():
        nn.init.normal_(weight, std=0.2)


INNER = {
    "to_out.": "to_out.0.",
    ".layers.": ".transformer_blocks.",
    ".ff_in.": ".ff.net.0.proj.",
    ".ff_out.": ".ff.net.2.",
}


def prefixes(levels: int, blocks: int) -> Iterator[tuple[str, str]]:
    """Yield the beginnings of our names, each with what diffusers calls it."""
    parts = {"resnet": "resnets", "attention": "attentions"}
    place = itertools.count()
    for level in range(levels):
        for index in range(blocks):
            ours = f"down_blocks.{next(place)}"
            yield from (
                (f"{ours}.{p}.", f"down_blocks.{level}.{q}.{index}.") for p, q in parts.items()
            )
        if level < levels - 1:
            yield f"down_blocks.{next(place)}.", f"down_blocks.{level}.downsamplers.0.conv."
    place = itertools.count()
    for level in range(levels):
        for index in range(blocks + 1):
            ours = f"up_blocks.{next(place)}"
            yield f"{ours}.upsample.", f"up_blocks.{level}.upsamplers.0.conv."
            yield from (
                (f"{ours}.{p}.", f"up_blocks.{level}.{q}.{index}.") for p, q in parts.items()
            )
    for ours in ("resnet_1", "0.resnet"):
        yield f"middle.{ours}.", "mid_block.resnets.0."
    for ours in ("resnet_2", "1.resnet"):
        yield f"middle.{ours}.", "mid_block.resnets.1."
    for ours in ("attention", "0.attention"):
        yield f"middle.{ours}.", "mid_block.attentions.0."
    yield "norm_out.", "conv_norm_out."
    for ours, theirs in (
        ("time_embedding", "time_embedding"),
        ("text_embedding", "class_embedding"),
    ):
        yield f"{ours}.0.", f"{theirs}.linear_1."
        yield f"{ours}.2.", f"{theirs}.linear_2."


def in_diffusers_names(model: nn.Module, levels: int, blocks: int) -> dict[str, torch.Tensor]:
    """Return our weights, but for the text encoder's, by the names of diffusers."""
    known, found = dict(prefixes(levels, blocks)), {}
    for name, weight in model.state_dict().items():
        start = next((each for each in known if name.startswith(each)), "")
        renamed = known.get(start, "") + name.removeprefix(start)
        for ours, theirs in INNER.items():
            renamed = renamed.replace(ours, theirs)
        if not name.startswith("text_encoder."):
            found[renamed] = weight
    return found


def test_the_pixel_u_net_is_that_of_diffusers(models: dict[str, ModuleType]) -> None:
    diffusers = pytest.importorskip("diffusers")
    sizes = {**PIXELS, "n_levels": 3, "image_channels": 3, "image_width": 16, "embedding_dim": 32}
    model = models["unet_diffusion"].Model(models["unet_diffusion"].Config(**sizes)).eval()
    random_weights(model)
    levels = ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D")
    theirs = diffusers.UNet2DModel(
        in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(8, 16, 16),
        down_block_types=levels, up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=None, norm_num_groups=4, num_class_embeds=11, freq_shift=0,
    ).eval()  # fmt: skip
    theirs.load_state_dict(in_diffusers_names(model, 3, 1))
    x, t, told = torch.randn(2, 3, 8, 16), torch.tensor([3, 700]), torch.tensor([1, 10])
    with torch.no_grad():
        wanted = theirs(x, t, class_labels=told).sample
        torch.testing.assert_close(model(x, t, told), wanted, atol=1e-4, rtol=1e-4)


def test_the_latent_u_net_is_that_of_diffusers(models: dict[str, ModuleType]) -> None:
    diffusers, module = pytest.importorskip("diffusers"), models["latent_unet"]
    sizes = {**LATENTS, "n_levels": 3, "upper_layers": 2, "lowest_layers": 3, "image_width": 16}
    sizes |= {"embedding_dim": 32, "blocks_per_level": 2}
    model = module.Model(module.Config(**sizes)).eval()
    random_weights(model)
    levels = ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")
    theirs = diffusers.UNet2DConditionModel(
        in_channels=4, out_channels=4, layers_per_block=2, block_out_channels=(8, 16, 32),
        down_block_types=levels,
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=[1, 2, 3], attention_head_dim=[2, 4, 8],
        cross_attention_dim=8, use_linear_projection=True, norm_num_groups=4,
        class_embed_type="projection", projection_class_embeddings_input_dim=8,
    ).eval()  # fmt: skip
    theirs.load_state_dict(in_diffusers_names(model, 3, 2))
    x, t = torch.randn(2, 1, 8, 16), torch.tensor([3, 700])
    told = module.conditions(model.config, ["a cat", ""], [])
    with torch.no_grad():
        text = model.text_encoder(told)
        latents = nn.functional.pixel_unshuffle(x, 2)
        noise = theirs(latents, t, text, class_labels=text.mean(1)).sample
        wanted = nn.functional.pixel_shuffle(noise, 2)
        torch.testing.assert_close(model(x, t, told), wanted, atol=1e-4, rtol=1e-4)


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


def test_a_resumed_run_ends_in_the_same_bits(
    code: Modules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    ran(code, monkeypatch, "train", "--out", straight)
    ran(code, monkeypatch, "train", "--out", resumed, "--steps", 2)
    ran(code, monkeypatch, "train", "--out", resumed, "--resume")
    for name in ("model.safetensors", "optimizer.safetensors"):
        one, two = (load_file(out / "checkpoint" / name) for out in (straight, resumed))
        assert one.keys() == two.keys()
        assert all(one[key].equal(two[key]) for key in one)
    averaged, raw = (
        load_file(straight / "checkpoint" / f"{name}.safetensors")
        for name in ("model", "optimizer")
    )
    assert {f"{name}/raw" for name in averaged} <= raw.keys()
    assert not averaged["conv_out.weight"].equal(raw["conv_out.weight/raw"])


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


def test_bundled_digits_do_not_leak(code: Modules) -> None:
    pytest.importorskip("sklearn")
    config = code["model"].Config(**next(m for _, m in FAMILIES.values() if fits(code, m)))
    data = code["data"].load_images(code["data"].Config(val_fraction=0.1), None, config)
    seen = {
        split: {each.images([i]).numpy().tobytes() for i in range(len(each))}
        for split, each in data.splits.items()
    }
    assert sum(map(len, data.splits.values())) == 1797
    for one, two in itertools.combinations(seen.values(), 2):
        assert not one & two


def fits(code: Modules, model: dict[str, Any]) -> bool:
    return set(model) == set(code["model"].Config.__dataclass_fields__)


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


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "metadata.jsonl").write_text("{"), "metadata.jsonl:1 is not a JSON object"),
        (lambda f: (f / "metadata.jsonl").write_text('{"file_name": "x.png"}'), '1 has no "text"'),
        (
            lambda f: (f / "metadata.jsonl").write_text('{"file_name": "../x", "text": "y"}'),
            "no such image beside it",
        ),
        (lambda f: (f / "red/1.png").rename(f / "1.png"), "1.png has no caption"),
        (lambda f: (f / "red/1.png").write_text("no image"), "cannot be read as an image"),
        (lambda f: [p.unlink() for p in f.rglob("*.png")], "no folder with images"),
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


def test_a_class_that_nobody_taught_is_refused(models: dict[str, ModuleType]) -> None:
    module = models["unet_diffusion"]
    config = module.Config(**PIXELS)
    assert module.conditions(config, ["cat", ""], ["dog", "cat"]).tolist() == [1, 10]
    with pytest.raises(ValueError, match="'cow' is no class: there are dog, cat"):
        module.conditions(config, ["cow"], ["dog", "cat"])
    with pytest.raises(ValueError, match="11 classes are more than the 10"):
        module.conditions(config, [], list("abcdefghijk"))


@pytest.mark.parametrize(
    ("family", "budget"),
    [
        *((unet_diffusion, b) for b in (1e6, 10e6, 35.7e6, 114e6, 300e6, 1e9)),
        *((latent_unet, b) for b in (100e6, 860e6, 2.6e9, 6e9, 12e9)),
    ],
)
def test_a_budget_is_filled_and_kept(family: Any, budget: float) -> None:
    need = Need(int(budget), int(0.99 * budget))
    design = sizing.search(family, need, family.fit(PUBLISHED, need.parameters))
    assert 0.97 <= design.parameters / budget <= 1
    assert not any(rule.broken(design.everything) for rule in family.rules)


def test_fewer_sampling_steps_meet_a_limit_on_time() -> None:
    need = Need(60_000_000, 59_400_000)
    trend = unet_diffusion.fit(PUBLISHED, need.parameters)
    plain = sizing.search(unet_diffusion, need, trend)
    assert plain.formats == {"sampling_steps": 50}
    assert plain.load.passes == 100


def test_images_and_texts_are_routed_here() -> None:
    small, large = load(SMALL).key, load(LARGE).key
    assert families.route(small) == "unet_diffusion"
    assert families.route(large) == "latent_unet"
    assert unet_diffusion.fixed(small) == {
        "image_height": 64, "image_width": 64, "num_classes": 10,
    }  # fmt: skip


def test_a_noise_schedule_that_the_code_lacks_is_an_error() -> None:
    key = {"training.config.noise_schedule": "sigmoid"}.get
    with pytest.raises(SpecError, match="'sigmoid', allowed are cosine and linear"):
        image_diffusion.schedule(key, "cosine")


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
