"""Talking heads: clips with sound, chunks, mouths in pixels, baselines, and a video with sound."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.family_code import beats_its_baselines, modules_of, write_code
from helpers.made import run
from helpers.talking_settings import MODEL, SETTINGS, write_spoken
from helpers.video_settings import write_clip

from metagen import paths
from metagen.families.talking_head_dit import FAMILY

av = pytest.importorskip("av")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_code(tmp_path_factory.mktemp("code"), FAMILY, SETTINGS)


@pytest.fixture
def code(folder: Path) -> Iterator[Any]:
    with modules_of(folder) as modules:
        yield modules


@pytest.fixture(scope="module")
def clips(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten clips with sound, five of which have a caption."""
    where = tmp_path_factory.mktemp("data") / "clips"
    with modules_of(folder):
        for number in range(10):
            name, rate = f"{number}.mp4", 20 if number % 2 else 10
            write_spoken(where / name, frames=24 if number % 2 else 12, rate=rate, seed=number)
    rows = [{"file_name": f"{n}.mp4", "text": f"face {n}"} for n in range(5)]
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    (where / "metadata.jsonl").write_text(lines)
    return where


def model_of(code: Any, **changed: Any) -> Any:
    return code["model"].Config(**{**MODEL, **changed})


def load(code: Any, path: Path | None, **changed: Any) -> Any:
    data = code["data"]
    return data.load_clips(data.Config(**SETTINGS["data"]), path, model_of(code, **changed))


def test_clips_have_the_model_s_rates_and_a_sound_as_long_as_their_frames(
    code: Any, clips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = load(code, clips)
    assert sum(len(each.lengths) for each in data.splits.values()) == 10
    captions = sorted(each for split in data.splits.values() for each in split.captions)
    assert captions == ["", "", "", "", "", *(f"face {n}" for n in range(5))]
    assert "5 videos have no row" in capsys.readouterr().err
    for split in data.splits.values():
        for place, length in enumerate(split.lengths):
            clip = split.read(place)
            assert length == 12
            assert clip.frames.shape == (12, 3, 12, 8)
            assert clip.sound.shape == (12 * 160,)
            assert clip.heard.shape == (12, 4, 20)
            # The light and the tone grow together, at whichever rates the file has them.
            light = clip.frames.float().mean((1, 2, 3))
            loud = clip.sound.view(12, -1).square().mean(1)
            assert (light.diff() > 0).all()
            assert (loud[1:-1].diff() > 0).all()


def test_a_chunk_begins_with_the_portrait_in_silence(code: Any, clips: Path) -> None:
    split, model = load(code, clips).splits["train"], model_of(code)
    silence = sys.modules["runtime.spectra"].SILENCE
    chunk = code["data"].chunks(split, [0, 5], model)
    clip = split.read(0)
    first = code["data"].scaled(clip.frames)
    assert chunk.portrait.shape == (2, 3, 12, 8)
    assert torch.equal(chunk.portrait[0], first[:, 0])
    # Before the first frame the portrait stands still.
    assert torch.equal(chunk.given[0], first[:, [0, 0]])
    assert torch.equal(chunk.following[0], first[:, :4])
    assert torch.equal(chunk.given[1], first[:, 3:5])
    assert torch.equal(chunk.following[1], first[:, 5:9])
    assert (chunk.sound[0, :3] == silence).all()
    assert torch.equal(chunk.sound[0, 3:], clip.heard[:5])
    assert torch.equal(chunk.sound[1], clip.heard[2:10])
    last = code["data"].chunks(split, [8], model)
    assert torch.equal(last.sound[0, :7], clip.heard[5:])
    assert (last.sound[0, 7:] == silence).all()


def test_a_silent_sound_has_the_spectra_of_silence(code: Any) -> None:
    spectra = sys.modules["runtime.spectra"]
    found = spectra.frame_spectra(torch.zeros(1600), 1600, 160)
    assert found.shape == (10, 4, 20)
    torch.testing.assert_close(found, torch.full_like(found, spectra.SILENCE))


def test_spectra_do_not_depend_on_what_is_heard_elsewhere(code: Any) -> None:
    spectra = sys.modules["runtime.spectra"]
    wave = torch.sin(torch.arange(3200) / 3)
    louder = torch.cat((wave[:1600], 5 * wave[1600:])).clamp(-1, 1)
    one, two = (spectra.frame_spectra(each, 1600, 160) for each in (wave, louder))
    assert torch.equal(one[:9], two[:9])
    assert not torch.equal(one[10:], two[10:])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: write_clip(f / "1.mp4", frames=12), "1.mp4 has no sound, only video"),
        (lambda f: (f / "1.mp4").write_bytes(b""), "1.mp4 cannot be read as a video"),
        (lambda f: (f / "metadata.jsonl").write_text('{"file_name": "x.mp4", "text": "a"}\n'),
         "names 'x.mp4', which is no video file beside it"),
    ],
)  # fmt: skip
def test_bad_files_are_refused_in_a_sentence(
    code: Any, tmp_path: Path, spoil: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(8):
        write_spoken(tmp_path / f"{number}.mp4", seed=number)
    spoil(tmp_path)

    def read() -> None:
        for split in load(code, tmp_path).splits.values():
            for place in range(len(split.lengths)):
                split.read(place)

    with pytest.raises(SystemExit) as caught:
        read()
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told


def test_a_size_that_the_bundled_clips_lack_is_refused(
    code: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        load(code, None)
    assert "needs your own clips" in capsys.readouterr().err


def test_drawn_mouths_open_with_the_voice_and_as_far_as_the_caption_says(code: Any) -> None:
    heads, _ = sys.modules["runtime.talking_heads"].talking_heads()
    lip_sync = sys.modules["runtime.lip_sync"]
    moved: dict[bool, list[float]] = {True: [], False: []}
    for head in heads["test"]:
        frames = torch.from_numpy(head.frames).float().transpose(0, 1) / 255
        loud = lip_sync.loudness(torch.from_numpy(head.samples / 2**15).float(), 400)
        mouth = lip_sync.mouth_of(frames, loud)
        assert lip_sync.sync(frames, mouth, loud) > 0.3, head.caption
        assert len(frames[0]) == len(loud) == 24
        assert loud[0] < 0.1 * loud.max()
        opening = (lip_sync.mouth_values(frames, mouth).mean(0) * mouth.signs).mean(1)
        moved["far" in head.caption].append(float(opening.std()))
    assert np.mean(moved[True]) > 1.3 * np.mean(moved[False])


def test_the_mouth_is_where_pixels_follow_the_loudness(code: Any) -> None:
    lip_sync = sys.modules["runtime.lip_sync"]
    draw = torch.Generator().manual_seed(0)
    loud = torch.rand(20, generator=draw)
    frames = 0.5 + 0.01 * torch.randn(3, 20, 10, 20, generator=draw)
    frames[:, :, 7, 4:6] -= 0.4 * loud[:, None]
    frames[:, :, 8, 4:6] += 0.4 * loud[:, None]
    mouth = lip_sync.mouth_of(frames, loud)
    assert sorted(mouth.pixels.tolist()) == [144, 145, 164, 165]
    signs = dict(zip(mouth.pixels.tolist(), mouth.signs.tolist(), strict=True))
    assert signs == {144: -1, 145: -1, 164: 1, 165: 1}
    assert lip_sync.sync(frames, mouth, loud) > 0.99
    assert lip_sync.sync(frames[:, :1].expand_as(frames), mouth, loud) == 0
    turned = frames.flip(1)
    opening = (turned.mean(0).flatten(1)[:, mouth.pixels] * mouth.signs).mean(1)
    expected = np.corrcoef(opening.numpy(), loud.numpy())[0, 1]
    assert lip_sync.sync(turned, mouth, loud) == pytest.approx(expected, abs=1e-5)


def test_the_ridge_is_that_of_scikit_learn(code: Any) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    lip_sync, draw = sys.modules["runtime.lip_sync"], torch.Generator().manual_seed(0)
    clips = [torch.rand(1, 4, 12, 12, generator=draw) for _ in range(5)]
    louds = [torch.rand(4, generator=draw) for _ in range(5)]
    rows, values = [], []
    for clip, loud in zip(clips, louds, strict=True):
        padded = np.pad(clip[0, 0].numpy(), 4)
        seen = np.lib.stride_tricks.sliding_window_view(padded, (9, 9)).reshape(144, 81)
        near = np.concatenate((seen, np.ones((144, 1))), 1)
        for frame, each in zip(clip[0], loud.tolist(), strict=True):
            rows.append(np.concatenate((near, each * near), 1))
            values.append(frame.flatten().numpy())
    x, y = np.concatenate(rows), np.concatenate(values)
    expected = linear.Ridge(1.0, fit_intercept=False).fit(x, y).predict(x)[: 4 * 144]
    found = lip_sync.LoudnessRidge(clips, louds)(clips[0][:, 0], louds[0])
    torch.testing.assert_close(
        found.flatten(), torch.from_numpy(expected).float(), atol=1e-3, rtol=1e-3
    )


class Knows(torch.nn.Module):
    """A network that knows each frame: it is as light as its sound, all over."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.seen: list[torch.Tensor] = []

    def forward(
        self, portrait: torch.Tensor, given: torch.Tensor, noisy: torch.Tensor, t: torch.Tensor,
        sound: torch.Tensor, caption: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        self.seen.append(given)
        own = sound[:, 3:7, 0, 0][:, None, :, None, None].expand_as(noisy)
        velocity: torch.Tensor = (noisy - own) / t.view(-1, 1, 1, 1, 1)
        return velocity


def test_a_video_goes_on_from_chunk_to_chunk_and_is_as_long_as_its_sound(code: Any) -> None:
    network = Knows(model_of(code))
    portrait, heard = torch.rand(2, 3, 12, 8), torch.rand(2, 10, 4, 20)
    caption = torch.zeros(2, 10, dtype=torch.int64)
    made = sys.modules["runtime.chunks"].animated(network, portrait, heard, caption, (2, 3.0, 0))
    assert made.shape == (2, 3, 10, 12, 8)
    expected = heard[:, :, 0, 0][:, None, :, None, None].expand_as(made)
    torch.testing.assert_close(made, expected)
    firsts = network.seen[::2]
    assert len(firsts) == 3
    assert torch.equal(firsts[0], portrait[:, :, None].repeat(1, 1, 2, 1, 1))
    torch.testing.assert_close(firsts[1], made[:, :, 2:4])
    torch.testing.assert_close(firsts[2], made[:, :, 6:8])


def test_the_loss_of_the_true_velocity_is_zero(code: Any) -> None:
    network = Knows(model_of(code))
    frames = torch.rand(4)[:, None, None, None, None].expand(4, 3, 4, 12, 8)
    sound = frames[:, :1, 0, 0, 0, None, None].expand(4, 8, 4, 20)
    given, caption = torch.zeros(4, 3, 2, 12, 8), torch.zeros(4, 10, dtype=torch.int64)
    batch = (given[:, :, 0], given, frames, sound, caption)
    loss, count = code["train"].loss_of(network, batch, 3.0)
    assert count == 4
    assert float(loss) < 1e-6


def sides(path: Path) -> tuple[int, float, np.ndarray[Any, Any], int]:
    """Return the frames, seconds of picture, samples and rate of sound of a video."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        frames = sum(1 for _ in file.decode(stream))
        seconds = frames / float(stream.average_rate)
    with av.open(str(path)) as file:
        heard = [each.to_ndarray()[0] for each in file.decode(audio=0)]
        return frames, seconds, np.concatenate(heard), file.streams.audio[0].rate


def test_the_sound_of_a_file_comes_back_beside_its_frames(code: Any, tmp_path: Path) -> None:
    video = sys.modules["runtime.video"]
    tone = 0.5 * torch.sin(torch.arange(16000) / 8000 * 2 * torch.pi * 440)
    tone[:8000] = 0
    video.write_video(tmp_path / "x.mp4", torch.rand(20, 3, 64, 64), 10, (tone, 8000))
    back = video.read_sound(tmp_path / "x.mp4", 8000)
    # AAC works in blocks of 1,024 samples.
    assert abs(len(back) - 16000) <= 1024
    # What is silent stays so, and the tone begins where it began: no more than a block away.
    assert back[: 8000 - 1024].abs().max() < 0.02
    assert back[8000 + 1024 : 15000].square().mean().sqrt() == pytest.approx(0.354, abs=0.03)
    at_half = video.read_sound(tmp_path / "x.mp4", 4000)
    assert abs(2 * len(at_half) - len(back)) <= 8
    frames, seconds, samples, rate = sides(tmp_path / "x.mp4")
    assert (frames, rate) == (20, 8000)
    assert abs(len(samples) / rate - seconds) <= 1024 / rate


def test_clips_of_a_user_train_score_and_a_portrait_speaks(
    folder: Path, clips: Path, tmp_path: Path
) -> None:
    shown = run(folder, "data", "--data", clips)
    assert "10 of 64 x 64" in shown
    assert "frames a second: 10 to 20" in shown
    out = ("--out", tmp_path, "--threads", 1)
    run(folder, "train", "--data", clips, *out, "--dtype", "float32")
    report = json.loads(run(folder, "eval", "--data", clips, *out))
    assert [each["metric"] for each in report["metrics"]] == list(FAMILY.task.metrics)
    for each in report["metrics"]:
        assert {"still image", "ridge regression", "sound of another clip"} <= set(
            each["baselines"]
        )
    assert report["figure"]["kind"] == "images"
    clip = clips / "1.mp4"
    said = run(folder, "infer", "--portrait", clip, "--speech", clip, "--prompt", "a face", *out)
    assert "12 generated frames, 1.2 s, with the speech" in said
    frames, seconds, samples, rate = sides(tmp_path / "spoken.mp4")
    assert (frames, seconds) == (12, 1.2)
    assert rate == 8000
    assert abs(len(samples) / rate - seconds) <= 2 * 1024 / rate
    # The sound is the speech: the tone grows louder.
    parts = [np.sqrt(np.mean(part**2)) for part in np.array_split(samples[: int(1.2 * rate)], 4)]
    assert parts == sorted(parts)
    assert parts[-1] > 0.3


def test_a_portrait_without_speech_is_refused(
    folder: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(folder, "infer", "--portrait", clips / "1.mp4", "--out", tmp_path, status=2)
    assert "give both --portrait and --speech" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("name", ["still image", "mean frame", "sound of another clip"])
def test_the_proxy_beats_trivial_predictions_and_the_wrong_sound(tmp_path: Path, name: str) -> None:
    spec = paths.specs() / "video/video_realtime_avatar.yaml"
    beats_its_baselines(spec, tmp_path, only=name)
