"""Speech recognition: sounds with texts, LibriSpeech, refusals, losses, errors, a report."""

from __future__ import annotations

import itertools
import json
import random
import sys
from collections.abc import Iterator, Sequence
from functools import cache
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
from helpers.turns import in_turn
from helpers.whisper_settings import MODEL, SIZES, WITHOUT

from metagen import paths
from metagen.families.whisper import FAMILY

SPEC = paths.specs() / "audio" / "speech_to_text.yaml"
RATE = int(MODEL["sample_rate"])
SECONDS = 2 * MODEL["audio_positions"] * MODEL["hop_length"] / RATE
WORDS = ("low", "high", "middle")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_code(tmp_path_factory.mktemp("code"), FAMILY, SIZES)


@pytest.fixture(scope="module")
def code(folder: Path) -> Iterator[dict[str, ModuleType]]:
    with modules_of(folder) as modules:
        yield modules


def tone(path: Path, text: str, seconds: float = 0.3, rate: int = RATE, channels: int = 1) -> None:
    """Write a sound in which each word is a tone of its own."""
    pitches = [200 * 2 ** WORDS.index(word) for word in text.split()]
    time = np.arange(round(rate * seconds / max(1, len(pitches)))) / rate
    wave = np.concatenate([0.5 * np.sin(2 * np.pi * pitch * time) for pitch in pitches])
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.stack([wave] * channels, 1), rate)


def texts(number: int) -> list[str]:
    draw = random.Random(0)
    return [" ".join(draw.choices(WORDS, k=1 + place % 2)) for place in range(number)]


def sounds(folder: Path, number: int = 16, **columns: Sequence[str]) -> Path:
    """Write sounds with a metadata file; further columns have a value for each row."""
    rows = []
    for place, text in enumerate(texts(number)):
        rate, channels = (RATE, 1) if place % 2 else (2 * RATE, 2)
        name = f"tone{place}.{'wav' if place % 3 else 'flac'}"
        tone(folder / name, text, 0.2 + 0.01 * place, rate, channels)
        rows.append({"file_name": name, "text": text} | {c: v[place] for c, v in columns.items()})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def loaded(code: dict[str, ModuleType], path: Path | None) -> Any:
    data = code["data"]
    return data.load_speech(data.Config(), path, code["model"].Config())


def all_texts(data: Any) -> list[str]:
    return sorted(text for split in data.splits.values() for text in split.texts)


def test_a_folder_of_the_hubs_form_is_read_with_its_texts(
    code: dict[str, ModuleType], tmp_path: Path
) -> None:
    data = loaded(code, sounds(tmp_path))
    assert all_texts(data) == sorted(texts(16))
    clips = [each.read(i) for each in data.splits.values() for i in range(len(each))]
    assert {tuple(clip.shape) for clip in clips} == {(round(SECONDS * RATE),)}
    assert data.speakers is None
    assert data.words.decode(data.words.encode("high low")) == "high low"


def test_a_speaker_is_in_one_split(code: dict[str, ModuleType], tmp_path: Path) -> None:
    who = [f"s{place // 2}" for place in range(16)]
    data = loaded(code, sounds(tmp_path, speaker_id=who))
    own = {
        name: {split.read(i).numpy().tobytes() for i in range(len(split))}
        for name, split in data.splits.items()
    }
    pairs = [sound_pair(code, tmp_path, place) for place in range(0, 16, 2)]
    for one, other in pairs:
        assert [name for name in own if one in own[name]] == [n for n in own if other in own[n]]
    assert data.speakers is not None
    assert max(data.speakers) + 1 == len(data.speakers) / 2


def sound_pair(code: dict[str, ModuleType], folder: Path, place: int) -> tuple[bytes, bytes]:
    module = sys.modules["runtime.sounds"]
    found = {path.stem: path for path in module.list_sounds(folder).files}
    one, other = (
        module.read_clip(module.sound_of(found[f"tone{n}"]), 0, SECONDS, RATE).tobytes()
        for n in (place, place + 1)
    )
    return one, other


def test_librispeech_is_read_as_it_is(code: dict[str, ModuleType], tmp_path: Path) -> None:
    said = texts(12)
    for place, text in enumerate(said):
        speaker, chapter = 100 + place // 2, 7
        name = f"{speaker}-{chapter}-{place % 2:04d}"
        tone(tmp_path / f"{speaker}/{chapter}/{name}.flac", text, 0.2 + 0.01 * place)
        with (tmp_path / f"{speaker}/{chapter}/{speaker}-{chapter}.trans.txt").open("a") as file:
            file.write(f"{name} {text.upper()}\n")
    data = loaded(code, tmp_path)
    assert all_texts(data) == sorted(text.upper() for text in said)
    assert data.speakers is not None


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (
            "metadata.jsonl",
            '{"file_name": "../x.wav", "text": "x"}\n',
            "is no sound file beside it",
        ),
        ("metadata.jsonl", '{"file_name": "a.wav"}\n', 'has no "text"'),
        ("metadata.jsonl", '{"file_name": "a.wav", "text": " "}\n', 'has an empty "text"'),
        ("metadata.jsonl", "[1]\n", "is not a JSON object"),
        ("metadata.csv", "", "has no texts: write metadata.jsonl"),
        ("7-1.trans.txt", "a\n", "has no text after 'a'"),
        ("7-1.trans.txt", "b LOW\n", "names 'b', which is no sound beside it"),
        ("notes.txt", "a low\n", "has no texts: write metadata.jsonl"),
    ],
)
def test_texts_that_cannot_be_read_are_refused_in_a_sentence(
    code: dict[str, ModuleType],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: str,
    sentence: str,
) -> None:
    tone(tmp_path / "a.wav", "low")
    (tmp_path / name).write_text(content)
    with pytest.raises(SystemExit) as stopped:
        loaded(code, tmp_path)
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_damaged_sound_is_refused_and_a_link_out_of_the_folder_too(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = sounds(tmp_path / "in")
    (inside / "tone4.wav").write_bytes(b"RIFF\xff\xff\xff\xffWAVEfmt ")
    with pytest.raises(SystemExit):
        loaded(code, inside)
    assert "cannot be read as sound" in capsys.readouterr().err
    tone(tmp_path / "out.wav", "low")
    (inside / "tone4.wav").unlink()
    (inside / "tone4.wav").symlink_to(tmp_path / "out.wav")
    with pytest.raises(SystemExit):
        loaded(code, inside)
    assert "leads out of" in capsys.readouterr().err


def test_a_sound_longer_than_a_clip_and_a_text_without_room_are_left_out(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sounds(tmp_path)
    tone(folder / "long.wav", "low", 3 * SECONDS)
    with (folder / "metadata.jsonl").open("a") as file:
        file.write('{"file_name": "long.wav", "text": "low"}\n')
    assert len(all_texts(loaded(code, folder))) == 16
    assert "1 sounds are left out, which are longer than" in capsys.readouterr().err
    # The decoder has room for ten tokens, of which one ends the text.
    data, model = code["data"], code["model"].Config()
    assert data._is_written([5] * 3, model)
    assert not data._is_written(list(range(2, 12)), model)
    # CTC needs a blank between equal tokens, and the model has twelve positions.
    listener = code["model"].Config(**{**MODEL, **WITHOUT})
    assert data._is_written([5] * 6, listener)
    assert not data._is_written([5] * 7, listener)


def test_the_spoken_digits_need_the_rate_of_the_proxy(
    code: dict[str, ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        loaded(code, None)
    assert "need your own sounds" in capsys.readouterr().err


# Losses


def test_the_ctc_loss_is_that_of_all_paths(code: dict[str, ModuleType]) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 4, requires_grad=True)
    targets = torch.tensor([[2, 2, 0], [3, 0, code["data"].NO_TARGET]])
    loss = code["train"].ctc_loss(logits, targets)
    chances = logits.softmax(-1).double()
    expected = sum(
        -forward(each, text).log() for each, text in zip(chances, ([2, 2], [3]), strict=True)
    )
    torch.testing.assert_close(loss.double(), expected)
    (own,) = torch.autograd.grad(loss, logits, retain_graph=True)
    (other,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


def forward(chances: torch.Tensor, text: list[int]) -> torch.Tensor:
    """Return the chance of a text by the forward variables (Graves et al., 2006, equation 6)."""
    states = [0, *(each for token in text for each in (token, 0))]
    alpha = [chances[0, states[0]], chances[0, states[1]]]
    alpha += [torch.zeros((), dtype=torch.float64)] * (len(states) - 2)
    for position in chances[1:]:
        before = alpha
        alpha = []
        for place, token in enumerate(states):
            total = before[place] + (before[place - 1] if place else 0)
            if place > 1 and token and token != states[place - 2]:
                total = total + before[place - 2]
            alpha.append(total * position[token])
    return alpha[-1] + alpha[-2]


def test_the_loss_of_parts_is_the_loss_of_all(code: dict[str, ModuleType], tmp_path: Path) -> None:
    data = loaded(code, sounds(tmp_path))
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config())
    split = data.splits["train"]
    whole_batch = code["data"].batch_of(data, split, range(4))
    for share in (0.0, 0.3):
        whole, count = code["train"].speech_loss(model, whole_batch, share)
        parts = [
            code["train"].speech_loss(model, code["data"].batch_of(data, split, places), share)
            for places in ((0, 1), (2, 3))
        ]
        assert count == sum(number for _, number in parts)
        total = sum(loss * number for loss, number in parts) / count
        torch.testing.assert_close(whole, total, rtol=1e-4, atol=1e-5)


def test_training_hides_bands_and_frames_by_position_alone(
    code: dict[str, ModuleType], tmp_path: Path
) -> None:
    data, config = loaded(code, sounds(tmp_path)), code["data"].Config()
    together = code["data"].batch_at(data, config, 5, 4, 7)[0]
    alone = [code["data"].batch_at(data, config, place, 1, 7)[0] for place in range(5, 9)]
    assert torch.equal(together, torch.cat(alone))
    plain = code["data"].Config(**{**SIZES["data"], "masked_bands": 0, "masked_frames": 0})
    assert not torch.equal(together, code["data"].batch_at(data, plain, 5, 4, 7)[0])


# Scores


def apart(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Return the edit distance by its definition."""

    @cache
    def rest(i: int, j: int) -> int:
        if i == len(one) or j == len(other):
            return len(one) - i + len(other) - j
        same = rest(i + 1, j + 1) + (one[i] != other[j])
        return min(same, 1 + rest(i + 1, j), 1 + rest(i, j + 1))

    return rest(0, 0)


def test_the_word_error_rate_is_that_of_all_words_together(code: dict[str, ModuleType]) -> None:
    module = sys.modules["runtime.edits"]
    draw = random.Random(1)
    pairs = [tuple(draw.choices("abc", k=draw.randint(0, 7)) for _ in range(2)) for _ in range(40)]
    own = [module.edit_distance(a, b) for a, b in pairs]
    assert own == [apart(tuple(a), tuple(b)) for a, b in pairs]
    assert module.words_of("It's 5 o'clock, NOW - isn't_it?") == [
        *("it's", "5", "o'clock", "now", "isn't", "it")
    ]
    rate = module.ErrorRate([["a"], ["b", "c"]], [["a", "b", "c"], ["b"]])
    assert rate(np.ones(2)) == 3 / 4
    assert rate(np.array([0.0, 2.0])) == 1.0


def test_word_models_recognize_words_in_a_row_that_they_were_trained_on(
    code: dict[str, ModuleType],
) -> None:
    module = sys.modules["runtime.word_models"]
    draw = np.random.default_rng(0)
    shapes = {word: draw.normal(0, 3, (module.STATES, 4)) for word in WORDS}

    def clip(words: Sequence[str]) -> Any:
        rows = [np.zeros((3, 4))]
        rows += [np.repeat(shapes[word], draw.integers(2, 4), 0) for word in words]
        made = np.concatenate([*rows, np.zeros((3, 4))])
        return made + draw.normal(0, 0.3, made.shape)

    said = [[*draw.choice(WORDS, draw.integers(1, 4))] for _ in range(40)]
    models = module.WordModels([clip(words) for words in said[:30]], said[:30])
    assert [models.recognized(clip(words)) for words in said[30:]] == said[30:]
    assert module.WordModels([], []).recognized(clip(["low"])) == []


# Scripts


@pytest.mark.parametrize("alone", in_turn([False, True]))
def test_a_training_on_a_users_folder_resumes_and_writes_texts(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], alone: bool
) -> None:
    own = folder
    if alone:
        (tmp_path / "code").mkdir()
        sizes = {**SIZES, "model": {**MODEL, **WITHOUT}}
        own = write_code(tmp_path / "code", FAMILY, sizes)
    data, out = sounds(tmp_path / "data"), tmp_path / "out"
    shared = ("--data", data, "--schedule-steps", 4, "--threads", 1, "--batch-size", 4)
    for steps in (2, 4):
        run(own, "train", "--out", out, "--steps", steps, *shared, *["--resume"] * (steps > 2))
    run(own, "train", "--out", tmp_path / "straight", "--steps", 4, *shared)
    assert same_checkpoint(tmp_path / "straight" / "checkpoint", out / "checkpoint")
    report = json.loads(run(own, "eval", "--out", out, "--data", data, "--threads", 1))
    assert [each["metric"] for each in report["metrics"]] == list(FAMILY.task.metrics)
    assert report["figure"]["kind"] == "transcripts"
    printed = run(own, "infer", "--out", out, "--threads", 1, "--input", data / "tone5.wav")
    assert printed.count("\n") == 1
    # A longer sound is cut where it is quietest, and each part has a line of its own.
    tone(tmp_path / "long.wav", "low high", 2.5 * SECONDS)
    lines = run(own, "infer", "--out", out, "--threads", 1, "--input", tmp_path / "long.wav")
    starts = [float(line.partition("\t")[0]) for line in lines.splitlines()]
    assert len(starts) in (3, 4)
    assert starts[0] == 0
    assert all(0.7 * SECONDS < b - a <= SECONDS for a, b in itertools.pairwise(starts))


@pytest.mark.slow
@pytest.mark.ci
def test_the_proxy_beats_its_trivial_baseline(tmp_path: Path) -> None:
    beats_its_baselines(SPEC, tmp_path, "evaluation.bench=quick", only="commonest word")
