"""Generation of audio: folders of sounds, refused files, two stages, tokens, spectra, a report."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from helpers.family_code import beats_its_baselines, modules_of, write_code
from helpers.generated import same_checkpoint
from helpers.made import run
from helpers.musicgen_settings import MODEL, SIZES
from safetensors.torch import load_file

from metagen import paths
from metagen.families.musicgen import FAMILY

SPEC = paths.specs() / "audio" / "audio_musicgen_like.yaml"
RATE = int(MODEL["sample_rate"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_code(tmp_path_factory.mktemp("code"), FAMILY, SIZES)


@pytest.fixture(scope="module")
def code(folder: Path) -> Iterator[dict[str, ModuleType]]:
    with modules_of(folder) as modules:
        yield modules


def sounds(folder: Path, number: int = 12, **options: Any) -> Path:
    """Write tones of several lengths, rates and channels, with a caption each."""
    rows = []
    for place in range(number):
        rate, channels = (RATE, 1) if place % 2 else (2 * RATE, 2)
        time = np.arange(round(rate * (0.1 + 0.07 * place))) / rate
        tone = 0.5 * np.sin(2 * math.pi * (200 + 40 * place) * time)
        name = f"tone{place}.{'wav' if place % 3 else 'flac'}"
        soundfile.write(folder / name, np.stack([tone] * channels, 1), rate)
        rows.append({"file_name": name, "text": f"tone {place % 3}"})
    if options.get("captions", True):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "metadata.jsonl").write_text(text)
    return folder


def loaded(code: dict[str, ModuleType], path: Path | None) -> Any:
    data = code["data"]
    return data.load_clips(data.Config(), path, code["model"].Config())


def test_sounds_of_any_rate_become_clips_and_a_file_is_in_one_split(
    code: dict[str, ModuleType], tmp_path: Path
) -> None:
    data = loaded(code, sounds(tmp_path))
    length = SIZES["data"]["seq_len"] * code["model"].Config().frame()
    texts = [text for split in data.splits.values() for text in split.captions]
    # 0.2 seconds are a clip: a rest of a quarter of it or more makes another.
    seconds = [0.1 + 0.07 * place for place in range(12)]
    counts = [max(1, int(s / 0.2) + (s % 0.2 >= 0.05)) for s in seconds]
    assert len(texts) == sum(counts)
    assert sorted(set(texts)) == ["tone 0", "tone 1", "tone 2"]
    clips = [each.read(i) for each in data.splits.values() for i in range(len(each))]
    assert {tuple(clip.shape) for clip in clips} == {(length,)}
    keys = {
        s: {each.read(i).numpy().tobytes() for i in range(len(each))}
        for s, each in data.splits.items()
    }
    assert not keys["train"] & keys["test"]
    assert max(data.sources) + 1 <= len(data.sources) == len(data.splits["test"])


def test_a_clip_is_the_sound_at_the_rate_of_the_model(
    code: dict[str, ModuleType], tmp_path: Path
) -> None:
    module = sys.modules["runtime.sounds"]
    time = np.arange(4 * RATE) / (2 * RATE)
    tone = 0.5 * np.sin(2 * math.pi * 300 * time)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, np.zeros_like(tone)], 1), 2 * RATE)
    read = module.read_clip(module.sound_of(tmp_path / "a.wav"), 0.5, 2.0, RATE)
    assert read.shape == (2 * RATE,)
    expected = 0.25 * np.sin(2 * math.pi * 300 * (0.5 + np.arange(RATE) / RATE))
    assert np.abs(read[: RATE - 99] - expected[: RATE - 99]).max() < 0.01
    assert not read[round(1.5 * RATE) :].any()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.wav", b"", "cannot be read as sound"),
        ("a.flac", b"fLaC" + bytes(60), "cannot be read as sound"),
        ("a.wav", b"RIFF\xff\xff\xff\xffWAVEfmt ", "cannot be read as sound"),
        ("a.txt", b"no sound", "has no sound file"),
        ("a.mp3", b"ID3", "Convert them to WAV or FLAC"),
    ],
)
def test_what_is_no_sound_is_refused_in_a_sentence(
    code: dict[str, ModuleType],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes,
    sentence: str,
) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "metadata.jsonl").write_text(f'{{"file_name": "{name}", "text": "x"}}\n')
    if name == "a.mp3":
        soundfile.write(tmp_path / "b.wav", np.zeros(10), RATE)
    with pytest.raises(SystemExit) as stopped:
        loaded(code, tmp_path)
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_sound_without_a_caption_is_refused_and_one_without_a_row_left_out(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sounds(tmp_path, captions=False)
    with pytest.raises(SystemExit):
        loaded(code, folder)
    assert "has no caption: write metadata.jsonl" in capsys.readouterr().err
    (folder / "metadata.jsonl").write_text('{"file_name": "../x.wav", "text": "x"}\n')
    with pytest.raises(SystemExit):
        loaded(code, folder)
    assert "which is no sound file beside it" in capsys.readouterr().err


def test_the_spoken_digits_need_the_rate_of_the_proxy(
    code: dict[str, ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        loaded(code, None)
    assert "need your own sounds" in capsys.readouterr().err


def test_bigrams_are_those_of_witten_and_bell(code: dict[str, ModuleType]) -> None:
    train, test = torch.randint(3, (5, 2, 9)), torch.randint(3, (2, 2, 4))
    model = code["eval"].Bigram(train, 3)
    expected = np.zeros((2, 2, 4))
    for b, k, t in np.ndindex(2, 2, 4):
        own = train[:, k].tolist()
        tokens = [token for row in own for token in row]
        pairs = [(h, c) for row in own for h, c in zip([None, *row], row, strict=False)]
        h, c = (test[b, k, t - 1].item() if t else None), test[b, k, t].item()
        alone = (tokens.count(c) + 1) / (len(tokens) + 3)
        after = [each for before, each in pairs if before == h]
        share = (after.count(c) + len(set(after)) * alone) / (len(after) + len(set(after)))
        expected[b, k, t] = -math.log2(share)
    assert model.bits(test, paired=True) == pytest.approx(expected.mean((1, 2)))


def test_bits_are_the_cross_entropy_that_training_lowers(code: dict[str, ModuleType]) -> None:
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config())
    for head in model.decoder.lm_heads:
        torch.nn.init.normal_(head.weight)
    wave, text = torch.randn(3, 20 * 48), torch.zeros(3, 6, dtype=torch.int64)
    with torch.no_grad():
        loss = model(wave, text, task="loss")
        codes = model.codec.encode(wave[:, None])
    clips = [code["eval"].Read(wave, [text], codes)]
    bits = code["eval"].bits(model, clips, torch.device("cpu"))
    assert bits.mean() * math.log(2) == pytest.approx(loss.item(), rel=1e-5)


def test_spectra_tell_a_tone_from_silence_and_have_its_power(code: dict[str, ModuleType]) -> None:
    spectra = sys.modules["runtime.spectra"]
    tone = torch.sin(2 * math.pi * 1000 * torch.arange(8000) / 8000)[None]
    power = spectra.log_mel(tone, 8000, 256).exp()
    # The bands' filters have a sum of 1, so the largest band holds a good part of the tone's power.
    assert 0.2 < power[0, 60].max() <= 1
    assert spectra.log_mel_distance(tone, tone, 8000).item() == 0
    assert spectra.log_mel_distance(tone, 0 * tone, 8000).item() > 0.5


def test_a_transform_codec_with_an_entry_for_each_frame_loses_nothing(
    code: dict[str, ModuleType],
) -> None:
    wave = torch.randn(2, 12 * 16)
    codec = sys.modules["runtime.transform"].TransformCodec(wave, 16, 1, 26)
    torch.testing.assert_close(codec(wave), wave, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.ci
def test_training_has_two_stages_and_a_clip_is_written(folder: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "sounds", tmp_path / "out"
    data.mkdir()
    sounds(data)
    shared = ("--data", data, "--schedule-steps", 4, "--threads", 1, "--batch-size", 4)
    made = {}
    for steps in (2, 4):
        run(folder, "train", "--out", out, "--steps", steps, *shared, *["--resume"] * (steps > 2))
        made[steps] = load_file(out / "checkpoint" / "model.safetensors")
    run(folder, "train", "--out", tmp_path / "straight", "--steps", 4, *shared)
    assert same_checkpoint(tmp_path / "straight" / "checkpoint", out / "checkpoint")
    moved = {name for name, each in made[2].items() if not each.equal(made[4][name])}
    # The second stage leaves the codec as it is, and trains all but what a head of 0 holds back.
    assert moved
    assert not [name for name in moved if name.startswith("codec.")]
    rates = [json.loads(line)["learning_rate"] for line in (out / "metrics.jsonl").open()]
    assert rates[0] == pytest.approx(rates[2])
    report = json.loads(run(folder, "eval", "--out", out, "--data", data, "--threads", 1))
    assert [each["metric"] for each in report["metrics"]] == list(FAMILY.task.metrics)
    wav = tmp_path / "made.wav"
    options = ("--input", data / "tone5.wav", "--prompt", "tone 1", "--sound", wav)
    run(folder, "infer", "--out", out, "--threads", 1, *options)
    info = soundfile.info(wav)
    given = int(0.45 * RATE) // 48
    assert (info.samplerate, info.frames) == (RATE, (given + 10) * 48)


@pytest.mark.slow
@pytest.mark.ci
def test_the_proxy_beats_its_trivial_baselines(tmp_path: Path) -> None:
    beats_its_baselines(SPEC, tmp_path, "evaluation.bench=quick", only="unigram")
