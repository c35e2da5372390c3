"""Video files, read and written by PyAV: headers, frames, sound, and refusals."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from runtime.errors import fail
from runtime.listing import Listing, list_files, say_unread, suffix_of

# A file is read as what its name says. FFmpeg's own guess could take a text for a list of other
# files and addresses, and would open them.
READERS = {
    **dict.fromkeys((".mp4", ".m4v", ".mov"), "mov"),
    **dict.fromkeys((".webm", ".mkv"), "matroska"),
    **dict.fromkeys((".mpg", ".mpeg"), "mpeg"),
    ".avi": "avi",
    ".gif": "gif",
}
SUFFIXES = tuple(READERS)
SOUND_READERS = {
    **{f".{name}": name for name in ("wav", "flac", "ogg", "mp3", "aiff", "au")},
    ".m4a": "mov",
}
UNREAD = (".ts", ".flv", ".wmv", ".3gp", ".ogv", ".vob", ".mts", ".m2ts", ".m3u8", ".h264", ".y4m")
# The rates that AAC has, in samples a second.
AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
MOST_PIXELS = 2**26  # pixels of a frame: 8192 x 8192
# Rec. 601, as Pillow makes grey of colours.
GREY = (0.299, 0.587, 0.114)
SHOWN_SIDE = 64  # pixels; lower frames are enlarged in the file that is written


@dataclass(frozen=True)
class Video:
    """What the header and the packets of a video file say.

    Attributes:
        path: The file.
        frames: Their number.
        height: Pixels.
        width: Pixels.
        rate: Frames a second; 0 where the file does not say.
    """

    path: Path
    frames: int
    height: int
    width: int
    rate: float


def list_videos(folder: Path) -> Listing:
    """Return the video files in a folder and its subfolders, and what is left out; or stop."""
    if not folder.is_dir():
        fail(f"{folder} is not a folder with videos ({', '.join(SUFFIXES)}).")
    found = list_files(folder, SUFFIXES)
    if not found.files:
        left_out = "; ".join(found.left_out())
        fail(
            f"{folder} is not a folder with videos ({', '.join(SUFFIXES)})"
            f"{'; ' if left_out else ''}{left_out}."
        )
    say_unread(found, UNREAD, "Convert them to MP4.")
    return found


def look_at(path: Path) -> Video:
    """Return what a file holds, or stop if that is no video."""
    with _opened(path) as (container, stream):
        context = stream.codec_context
        # Headers may miscount frames, and some formats have no count; packets are cheap to count.
        frames = sum(1 for packet in container.demux(stream) if packet.size)
        height, width = int(context.height), int(context.width)
        rate = float(stream.average_rate or 0)
    if not frames or not height or not width:
        fail(f"{path} has no frames: remove it, or copy it again.")
    if height * width > MOST_PIXELS:
        fail(f"{path} has frames of {width} x {height} pixels: scale it down before.")
    return Video(path, frames, height, width, rate)


def read_frames(path: Path, size: tuple[int, int], channels: int, count: int | None) -> Tensor:
    """Return the first frames of a file as (frames, channels, height, width), uint8; or stop.

    Each is turned upright, scaled until it covers the size, and its middle is cut out.

    Args:
        path: The file.
        size: Height and width.
        channels: 1 for grey, 3 for colours.
        count: How many frames; None for all.
    """
    frames, first = [], None
    with _opened(path) as (container, stream):
        stream.thread_type = "AUTO"
        for number, frame in enumerate(islice(container.decode(stream), count)):
            shape = (frame.width, frame.height)
            first = first or shape
            if shape != first:
                fail(
                    f"{path}: frame {number} has {_sides(shape)} pixels, and those before it "
                    f"{_sides(first)}: cut the file where the size changes."
                )
            pixels = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
            frames.append(_covered(pixels, size, channels))
    if not frames:
        fail(f"{path} has no frames that can be decoded: remove it, or copy it again.")
    return torch.stack(frames)


def write_video(
    path: Path, frames: Tensor, rate: float, sound: tuple[Tensor, int] | None = None
) -> None:
    """Write frames (F, C, height, width), values from 0 to 1, as an MP4 file.

    `sound` is samples (S,) of -1 to 1 and their rate, which begin with the first frame.
    """
    av = _library()
    pixels = (frames.clamp(0, 1) * 255).round().to(torch.uint8).cpu()
    pixels = _enlarged(pixels.expand(-1, 3, -1, -1)).permute(0, 2, 3, 1)  # (F, H, W, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
        stream.height, stream.width = pixels.shape[1:3]
        stream.pix_fmt = "yuv420p"
        # All streams are there before the first packet is written.
        rate_heard = next(r for r in AAC_RATES if r >= sound[1]) if sound else 0
        heard: Any = container.add_stream("aac", rate=rate_heard, layout="mono") if sound else None
        for each in pixels.numpy():
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(each), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
        if sound:
            values = sound[0].float().cpu().numpy()[None]  # (1, S)
            spoken = av.AudioFrame.from_ndarray(values, format="fltp", layout="mono")
            spoken.sample_rate = sound[1]
            # Without a time, the encoder's delay would move the sound behind the frames.
            spoken.pts, spoken.time_base = 0, Fraction(1, sound[1])
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate_heard)
            for each in (*resampler.resample(spoken), *resampler.resample(None), None):
                container.mux(heard.encode(each))


def read_sound(path: Path, rate: int) -> Tensor:
    """Return the sound of a file, of video or of sound alone, as (S,) of -1 to 1, or stop.

    It has one channel and `rate` samples a second, and begins with the first frame of a video.
    """
    av = _library()
    resampler, parts = av.AudioResampler(format="flt", layout="mono", rate=rate), []
    with _opened(path, "audio", "sound") as (container, stream):
        pictures = container.streams.video
        begin = float((pictures[0].start_time or 0) * pictures[0].time_base) if pictures else 0.0
        late = float((stream.start_time or 0) * stream.time_base) - begin
        for frame in container.decode(stream):
            frame.pts = None  # Gaps are not filled: players do not hear them either.
            parts += [each.to_ndarray()[0] for each in resampler.resample(frame)]
        parts += [each.to_ndarray()[0] for each in resampler.resample(None)]
    samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    shift = round(late * rate)
    samples = np.pad(samples, (shift, 0)) if shift > 0 else samples[-shift:]
    if not len(samples) or not np.isfinite(samples).all():
        fail(f"{path} has no sound that can be read: convert it to WAV, or remove it.")
    return torch.from_numpy(samples.clip(-1, 1).astype(np.float32))


def _enlarged(pixels: Tensor) -> Tensor:
    """Return frames enlarged by a whole factor; players want even sides, and people larger ones."""
    height, width = pixels.shape[2:]
    times = max(1, -(-SHOWN_SIDE // height))
    times *= 2 if times * height % 2 or times * width % 2 else 1
    return pixels.repeat_interleave(times, 2).repeat_interleave(times, 3)


@contextmanager
def _opened(path: Path, kind: str = "video", noun: str = "pictures") -> Iterator[tuple[Any, Any]]:
    """Open a file and its first stream of a kind; stop if the block cannot read it."""
    av = _library()
    reader = {**READERS, **SOUND_READERS}.get(suffix_of(path))
    if reader is None:
        known = ", ".join((*SOUND_READERS, *SUFFIXES))
        fail(f"{path} is in no format that is read here: {known}.")
    try:
        with path.open("rb") as source, av.open(source, format=reader) as file:
            streams = [each for each in file.streams if each.type == kind]
            if not streams:
                kinds = ", ".join(sorted({each.type for each in file.streams})) or "nothing"
                fail(f"{path} has no {noun}, only {kinds}: copy it again, or remove it.")
            yield file, streams[0]
    except MemoryError:
        raise
    # A decoder may raise almost any error at a damaged file.
    except Exception as error:
        what = "a video" if kind == "video" else "sound"
        fail(f"{path} cannot be read as {what}: {error or type(error).__name__}.")


def _library() -> Any:
    try:
        import av
    except ImportError:
        fail("videos are read and written by a library: pip install av.")
    return av


def _covered(pixels: NDArray[np.uint8], size: tuple[int, int], channels: int) -> Tensor:
    """Return the middle of a frame (H, W, 3) that is scaled to cover a size, (C, height, width)."""
    frame = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float()
    if channels == 1:
        frame = torch.tensordot(torch.tensor(GREY), frame, 1)[None]
    scale = max(new / old for new, old in zip(size, frame.shape[1:], strict=True))
    sides = [max(new, round(scale * old)) for new, old in zip(size, frame.shape[1:], strict=True)]
    if sides != list(frame.shape[1:]):
        frame = F.interpolate(frame[None], sides, mode="bilinear", antialias=True)[0]
    top, left = ((whole - kept) // 2 for whole, kept in zip(sides, size, strict=True))
    cut = frame[:, top : top + size[0], left : left + size[1]]
    return cut.round().clamp(0, 255).to(torch.uint8)


def _sides(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
