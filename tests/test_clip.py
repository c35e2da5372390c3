"""CLIP: exactly transformers' CLIPModel, sized to the budget, on pairs of glyphs or of yours."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from family_code import TRAIN, Held, beats_its_baselines, modules_of, write_code
from PIL import Image
from torch._subclasses.fake_tensor import FakeTensorMode

from metagen import families, paths
from metagen.blueprint import sizing
from metagen.errors import SpecError
from metagen.families import clip
from metagen.families.clip_load import forward_flops
from metagen.families.family import Need
from metagen.families.trend import rows
from metagen.measure.probe_worker import _by_torch
from metagen.spec import load

PUBLISHED = paths.source("data/published_models.csv").read_bytes()
SPEC = paths.specs() / "multimodal/multimodal_clip.yaml"
MODEL = {
    "embed_dim": 12,
    "in_channels": 3,
    "image_size": 16,
    "patch_size": 4,
    "vision_d_model": 24,
    "vision_n_layers": 2,
    "vision_n_heads": 3,
    "vision_d_ff": 40,
    "text_d_model": 16,
    "text_n_layers": 3,
    "text_n_heads": 2,
    "text_d_ff": 36,
    "vocab_size": 300,
    "max_seq_len": 20,
    "norm_eps": 1e-05,
}
TINY = {
    "model": MODEL,
    "data": {"shift": 1, "val_fraction": 0.1, "test_fraction": 0.1},
    "train": TRAIN,
    "eval": {"batch_size": 512, "pairs": 40, "baseline_pairs": 100},
    "infer": {"top": 3, "weight_bits": 16},
}
Modules = dict[str, ModuleType]


def clip_dims(row: dict[str, str]) -> dict[str, int]:
    pairs = {name: row[name].split(" / ") for name in ("d_model", "n_layers", "n_heads", "ffn")}
    text_width = int(pairs["d_model"][1])
    sizes = {
        f"{tower}_{ours}": int(pairs[theirs][place])
        for place, tower in enumerate(("vision", "text"))
        for ours, theirs in (("d_model",) * 2, ("n_layers",) * 2, ("n_heads",) * 2, ("d_ff", "ffn"))
    }
    common = {"embed_dim": text_width, "in_channels": 3, "norm_eps": 1e-5}
    sides = {"image_size": int(row["image_size"]), "patch_size": int(row["patch"])}
    return sizes | common | sides | {"vocab_size": int(row["vocab"]), "max_seq_len": 77}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_code(tmp_path_factory.mktemp("code"), clip, TINY)


@pytest.fixture(scope="module")
def code(folder: Path) -> Iterator[Modules]:
    with modules_of(folder) as modules:
        yield modules


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of 40 images of one brightness each, with two captions a piece."""
    (tmp_path / "a").mkdir()
    lines = []
    for n in range(40):
        Image.new("RGB", (20, 17), (6 * n,) * 3).save(tmp_path / "a" / f"{n}.png")
        lines += [{"file_name": f"a/{n}.png", "text": f"{word} {n}"} for word in ("grey", "tone")]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (tmp_path / "metadata.jsonl").write_text(text)
    return tmp_path


def test_the_closed_form_gives_every_published_count() -> None:
    table = rows(PUBLISHED, "contrastive")
    assert len(table) >= 8
    for row in table:
        assert clip.count(clip_dims(row)) == int(row["params_exact"]), row["model"]
        assert f"{int(row['params_exact']) / 1e6:.2f}M" in row["params_published"]
    (large,) = (row for row in table if row["model"] == "CLIP ViT-L/14")
    assert int(large["params_exact"]) == 427_616_513


@pytest.mark.parametrize(
    "change", [{}, {"patch_size": 8, "embed_dim": 5}, {"in_channels": 1, "text_n_layers": 1}]
)
def test_counts_and_operations_are_those_of_the_code(code: Modules, change: dict) -> None:
    dims = {**MODEL, **change}
    with torch.device("meta"):
        model = code["model"].Model(code["model"].Config(**dims))
        shapes = clip.example(dims, 1)
        inputs = [torch.empty(e["shape"], dtype=getattr(torch, e["dtype"])) for e in shapes]
    assert model.num_params() == clip.count(dims)
    assert sum(_by_torch(model, tuple(inputs)).values()) == forward_flops(dims)


def test_the_activations_are_what_the_code_holds_at_most(code: Modules) -> None:
    (row,) = (r for r in rows(PUBLISHED, "contrastive") if r["model"] == "CLIP ViT-L/14")
    dims = clip_dims(row)
    with FakeTensorMode():
        model = code["model"].Model(code["model"].Config(**dims)).eval()
        shapes = clip.example(dims, 1)
        inputs = [torch.zeros(e["shape"], dtype=getattr(torch, e["dtype"])) for e in shapes]
        with Held(model.parameters()) as held, torch.inference_mode():
            model(*inputs)
    temperature = 4  # bytes; float32 here, bf16 in infer.py
    assert held.most - temperature == 2 * clip.load(dims).activations


@pytest.mark.parametrize("budget", [60e6, 150e6, 427.7e6, 800e6, 2e9])
def test_a_budget_is_filled_and_kept(budget: float) -> None:
    need = Need(int(budget), int(0.99 * budget))
    design = sizing.search(clip, need, clip.fit(PUBLISHED, need.parameters))
    assert 0.97 <= design.parameters / budget <= 1


def test_images_with_texts_are_routed_here_and_must_be_squares() -> None:
    key = load(SPEC).key
    assert families.route(key) == "clip"
    oblong = {"constraints.image_size": (224, 160)}
    with pytest.raises(SpecError, match="224 x 160"):
        clip.fixed(lambda name: oblong.get(name))


def test_logits_loss_and_gradients_are_those_of_transformers(code: Modules) -> None:
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config(**MODEL))
    entries = model.checkpoint_config()
    reference = CLIPModel(CLIPConfig(**entries))
    for weight in model.parameters():  # biases and norms are drawn too, so that each one counts
        torch.nn.init.normal_(weight, std=0.2)
    state = {model.checkpoint_name(n): t for n, t in model.state_dict().items()}
    state["logit_scale"] = state["logit_scale"].reshape(())
    reference.load_state_dict(state)
    images, tokens = torch.randn(5, 3, 16, 16), torch.randint(1, 300, (5, 20))
    tokens[torch.arange(5), torch.tensor([19, 3, 7, 1, 12])] = 0  # where each text ends
    image, text = model(images, tokens)
    theirs = reference(input_ids=tokens, pixel_values=images, return_loss=True)
    torch.testing.assert_close(image @ text.T, theirs.logits_per_image, atol=1e-5, rtol=1e-5)
    loss, count = code["train"].contrastive_loss(model, (images, tokens))
    torch.testing.assert_close(loss, theirs.loss, atol=1e-6, rtol=1e-5)
    assert count == 5
    loss.backward()
    theirs.loss.backward()
    gradients = {n: p.grad for n, p in reference.named_parameters()}
    for name, weight in model.named_parameters():
        wanted = gradients[model.checkpoint_name(name)].reshape(weight.shape)
        torch.testing.assert_close(weight.grad, wanted, atol=1e-5, rtol=1e-4, msg=name)


def test_a_checkpoint_opens_in_transformers(
    code: Modules, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    out = tmp_path / "out"
    line = ["train.py", "--data", str(photos), "--out", str(out), "--steps", "1", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", line)
    code["train"].main()
    folder = out / "checkpoint"
    theirs = AutoModel.from_pretrained(folder).eval()
    assert type(theirs).__name__ == "CLIPModel"
    config = code["model"].Config(**MODEL)
    ours = code["infer"].load_model(lambda: code["model"].Model(config), folder)
    data = code["data"].load_pairs(code["data"].Config(), photos, config, folder)
    some = data.splits["val"]
    ids = AutoTokenizer.from_pretrained(folder)([pair.text for pair in some])["input_ids"]
    tokens = data.tokens(some)
    assert [row + [0] * (tokens.size(1) - len(row)) for row in ids] == tokens.tolist()
    picture = Image.open(some[0].image).resize((16, 16))
    pixels = AutoImageProcessor.from_pretrained(folder)(picture, return_tensors="pt")
    with torch.no_grad():
        wanted = theirs(input_ids=tokens, pixel_values=data.images(some)).logits_per_image
        image, text = ours(data.images(some), tokens)
    torch.testing.assert_close(image @ text.T, wanted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(pixels["pixel_values"], data.images(some[:1]), atol=0.01, rtol=0)


def test_glyphs_that_look_alike_stay_together_and_are_right_answers(code: Modules) -> None:
    pairs, _ = code["data"].glyphs(code["model"].Config(**MODEL | {"image_size": 32}))
    named = {pair.text: pair for pair in pairs}
    latin, greek = named["LATIN CAPITAL LETTER A"], named["GREEK CAPITAL LETTER ALPHA"]
    assert latin.name == greek.name
    other = named["LATIN SMALL LETTER B"]
    right = code["eval"].right_answers([latin, greek, other])
    assert right.tolist() == [[True, True, False], [True, True, False], [False, False, True]]


def test_recall_counts_ties_by_half_and_agrees_with_chance(code: Modules) -> None:
    drawn, recalls = code["eval"].DRAWN, code["eval"].recalls
    right = torch.eye(50, dtype=torch.bool)
    assert recalls(right.float(), right)[0] == 1
    flat = recalls(torch.zeros(50, 50), right)  # all tie: 24.5 wrong ones stand before, on average
    assert flat == [float(k > 24.5) for k in drawn]
    torch.manual_seed(0)
    several = torch.rand(4000, 50) < 0.05
    several[:, 0] |= ~several.any(1)
    random = recalls(torch.rand(4000, 50), several)
    assert random == pytest.approx(code["eval"].chance(several), abs=0.03)


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
    ("text", "said"),
    [
        (None, "must hold one of metadata"),
        ('{"file_name": "../secret.png", "text": "x"}', "no file below"),
        ('{"file_name": "a/none.png", "text": "x"}', "no file below"),
        ('{"file_name": "a/1.png"}', 'has no "text"'),
        ('{"file_name": "a/1.png", "text": "alone"}', "too few images"),
    ],
)
def test_bad_pairs_are_refused_in_a_sentence(
    code: Modules, photos: Path, text: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "metadata.jsonl").unlink()
    (photos.parent / "secret.png").touch()
    if text is not None:
        (photos / "metadata.jsonl").write_text(text)
    with pytest.raises(SystemExit) as caught:
        code["data"].load_pairs(code["data"].Config(), photos, code["model"].Config(**MODEL))
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


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


def _processes(folder: Path, out: Path, count: int, *options: str) -> list[float]:
    """Train in so many processes, and return the losses."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    shared = os.environ | {"MASTER_ADDR": "localhost", "MASTER_PORT": port}
    line = [sys.executable, "train.py", "--out", str(out), "--threads", "1", *options]
    started = [
        subprocess.Popen(
            line,
            cwd=folder,
            env=shared | {"RANK": str(n), "LOCAL_RANK": str(n), "WORLD_SIZE": str(count)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(count)
    ]
    said = [process.communicate(timeout=180)[1] for process in started]
    assert [process.returncode for process in started] == [0] * count, said
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


@pytest.mark.slow
def test_the_proxy_beats_chance_on_the_bundled_glyphs(tmp_path: Path) -> None:
    beats_its_baselines(SPEC, tmp_path, only="chance")


@pytest.mark.slow
def test_trained_longer_it_beats_the_nearest_neighbour(tmp_path: Path) -> None:
    beats_its_baselines(SPEC, tmp_path, "evaluation.bench=full")
