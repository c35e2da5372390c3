"""Sound files: listed from folders, cut into clips, and read at one rate of samples."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import fail
from runtime.listing import Listing, list_files, printable, say_unread
from runtime.notes import note

SUFFIXES = (".wav", ".flac", ".ogg", ".aif", ".aiff", ".au")
# Sound in formats that need a licence or another program.
UNREAD = (".mp3", ".m4a", ".aac", ".wma", ".opus", ".mp4", ".mov", ".mkv", ".webm", ".mid", ".midi")
MOST_SECONDS = 4 * 3600  # seconds of a file; a header may name any length
MOST_CHANNELS, MOST_RATE = 64, 384_000
Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Sound:
    """What the header of a sound file says.

    Attributes:
        path: The file.
        format: Such as `WAV PCM_16`.
        rate: Samples a second.
        channels: Channels, of which the mean is read.
        length: Samples of a channel.
    """

    path: Path
    format: str
    rate: int
    channels: int
    length: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.length / self.rate


def list_sounds(folder: Path) -> Listing:
    """Return the sound files in a folder and its subfolders, and what is left out; or stop."""
    kinds = ", ".join(SUFFIXES)
    if not folder.is_dir():
        fail(f"{folder} is not a folder with sound files ({kinds}).")
    found = list_files(folder, SUFFIXES)
    if not found.files:
        left_out = "; ".join(found.left_out())
        fail(f"{folder} has no sound file ({kinds}){'; ' if left_out else ''}{left_out}.")
    say_unread(found, UNREAD, "Convert them to WAV or FLAC.")
    return found


def library() -> Any:
    """Return the module soundfile, or stop."""
    try:
        import soundfile  # type: ignore[import-untyped]
    except (ImportError, OSError):  # the second where libsndfile is missing
        fail("sound files are read by a library: pip install soundfile.")
    return soundfile


def sound_of(path: Path) -> Sound:
    """Return what the header of a file says, or stop if it is no sound or has none."""
    soundfile = library()
    try:
        info = soundfile.info(str(path))
    except (RuntimeError, OSError) as error:  # libsndfile's errors are RuntimeErrors
        fail(f"{printable(str(path))} cannot be read as sound: {_cause(error)}.")
    kind = f"{info.format} {info.subtype}"
    sound = Sound(path, kind, info.samplerate, info.channels, info.frames)
    if sound.length < 1:
        fail(f"{printable(str(path))} has no samples: remove it.")
    if not (0 < sound.rate <= MOST_RATE and 0 < sound.channels <= MOST_CHANNELS):
        fail(
            f"{printable(str(path))} has {sound.rate:,} samples a second in {sound.channels:,} "
            f"channels; at most {MOST_RATE:,} in {MOST_CHANNELS} are read: convert it."
        )
    if sound.seconds > MOST_SECONDS:
        fail(
            f"{printable(str(path))} has {sound.seconds:,.0f} seconds by its header; at most "
            f"{MOST_SECONDS:,} are read: cut it into shorter files."
        )
    return sound


def read_clip(sound: Sound, start: float, seconds: float, rate: int) -> Samples:
    """Return a part of a sound as (S,) at a rate of samples, or stop; one channel, of -1 to 1.

    What lies beyond the end is silence.

    Args:
        sound: The file.
        start: Seconds before the part.
        seconds: Its length.
        rate: Samples a second.
    """
    soundfile = library()
    place, count = round(start * sound.rate), round(seconds * sound.rate)
    try:
        with soundfile.SoundFile(str(sound.path)) as file:
            file.seek(min(place, sound.length))
            values = file.read(min(count, sound.length - place), dtype="float32", always_2d=True)
    except (RuntimeError, OSError) as error:
        fail(f"{printable(str(sound.path))} cannot be read as sound: {_cause(error)}.")
    mono = values.mean(1)
    if not np.isfinite(mono).all():
        fail(f"{printable(str(sound.path))} has samples that are no finite numbers: convert it.")
    made = resampled(mono, sound.rate, rate)[: round(seconds * rate)]
    return np.pad(made, (0, round(seconds * rate) - len(made)))


def resampled(samples: Samples, rate: int, wanted: int) -> Samples:
    """Return samples (S,) at another rate."""
    if rate == wanted:
        return samples
    try:
        from scipy.signal import resample_poly  # type: ignore[import-untyped]
    except ImportError:
        fail(f"{rate:,} samples a second become {wanted:,} by a library: pip install scipy.")
    shared = gcd(rate, wanted)
    made = resample_poly(samples, wanted // shared, rate // shared)
    return np.asarray(made, dtype=np.float32).clip(-1, 1)


def _cause(error: Exception) -> str:
    return str(error).rpartition(": ")[2].strip().rstrip(".") or type(error).__name__


def survey(sounds: Sequence[Sound]) -> Iterator[str]:
    """Yield what data.py prints: formats, rates, channels and lengths."""
    for name, values in (
        ("files", [each.format for each in sounds]),
        ("samples a second", [f"{each.rate:,}" for each in sounds]),
        ("channels", [f"{each.channels}" for each in sounds]),
    ):
        counts = Counter(values).most_common()
        yield f"{name}: " + ", ".join(f"{value} ({count:,})" for value, count in counts)
    lengths = [each.seconds for each in sounds]
    yield f"seconds: {min(lengths):.3g} to {max(lengths):.3g}, {sum(lengths):,.1f} in all"


def say_changes(sounds: Sequence[Sound], rate: int) -> None:
    """Say what reading changes in sounds: their rate and their channels."""
    for some, sentence in (
        ([s for s in sounds if s.rate > rate], f"are reduced to {rate:,} samples a second"),
        ([s for s in sounds if s.rate < rate], f"are raised to {rate:,} samples a second"),
        ([s for s in sounds if s.channels > 1], "have several channels: their mean is read"),
    ):
        if some:
            note(f"{len(some):,} sounds, such as {printable(str(some[0].path))}, {sentence}.")


def write_sound(path: Path, samples: Samples, rate: int) -> None:
    """Write samples (S,) of -1 to 1 as a WAV file of 16 bits."""
    import wave

    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples.clip(-1, 1) * (2**15 - 1)).round().astype("<i2").tobytes())
