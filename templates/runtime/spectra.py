"""Log-mel spectrograms of sound, and the distance of two sounds in them.

Shapes in comments: B clips, S samples, F frames of a spectrogram, M bands.
"""

import functools
import math

import torch
from torch import Tensor

WINDOWS = (64, 256, 1024)
"""Samples of a window: short ones show when, long ones at which pitch."""
SAMPLES_PER_BAND = 8  # A narrower band would hold no frequency of a short window.
FLOOR = 1e-5  # Power below it is silence: 50 dB under a sine wave of full scale, about 16 bits.


@functools.lru_cache(maxsize=16)
def mel_filters(rate: int, window: int) -> Tensor:
    """Return (window / 2 + 1, M), triangles that are evenly spaced on the mel scale.

    mel = 2595 log10(1 + f / 700) (O'Shaughnessy, 1987); each triangle has a sum of 1.
    """
    bands = window // SAMPLES_PER_BAND
    top = 2595 * torch.log10(torch.tensor(1 + rate / 2 / 700))
    edges = 700 * (10 ** (torch.linspace(0, float(top), bands + 2) / 2595) - 1)
    bins = torch.linspace(0, rate / 2, window // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters = torch.minimum(rising, falling).clamp(min=0)
    # A band between two frequencies of the window takes the nearer one.
    empty = filters.sum(0) == 0
    nearest = (bins - edges[1:-1]).abs().argmin(0)
    filters[nearest[empty], empty.nonzero()[:, 0]] = 1
    return filters / filters.sum(0)


def log_mel(wave: Tensor, rate: int, window: int) -> Tensor:
    """Return (B, F, M), the logarithm of the power of sounds (B, S) in bands."""
    shape = torch.hann_window(window, device=wave.device)
    spectrum = torch.stft(
        wave.float(), window, window // 4, window=shape, pad_mode="constant", return_complex=True
    )
    # The power of a sine wave of full scale is 1, whatever the window.
    power = spectrum.real.square() + spectrum.imag.square()
    power = power.transpose(1, 2) * (4 / float(shape.sum()) ** 2)
    return (power @ mel_filters(rate, window).to(wave.device) + FLOOR).log()


def log_mel_distance(one: Tensor, other: Tensor, rate: int) -> Tensor:
    """Return (B,), the mean absolute difference of log-mel spectrograms, the mean over windows."""
    apart = [
        (log_mel(one, rate, window) - log_mel(other, rate, window)).abs().mean((1, 2))
        for window in WINDOWS
    ]
    return torch.stack(apart).mean(0)


TICKS = 4  # spectra of a frame of a video
SILENCE = math.log(FLOOR) / 6 + 1
"""What `frame_spectra` returns where nothing is heard."""


def frame_spectra(wave: Tensor, rate: int, frame: int) -> Tensor:
    """Return spectra (F, TICKS, M) of about -1 to 1 of the frames of a video with sound (S,).

    They do not depend on how loud the rest of the sound is, so a stream has them at once.

    Args:
        wave: The sound, of -1 to 1.
        rate: Samples a second.
        frame: Samples of a frame, which is as long as a window; F = S / frame.
    """
    count = len(wave) // frame
    spectra = log_mel(wave[None, : count * frame], rate, frame)[0, : TICKS * count]
    scaled: Tensor = spectra / 6 + 1
    return scaled.view(count, TICKS, -1)
