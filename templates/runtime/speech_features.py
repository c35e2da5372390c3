"""Log-mel features of speech, as Whisper's code computes them.

Shapes in comments: B clips, S samples, F frames, M bands, N frequencies.
"""

import functools
import math

import torch
from torch import Tensor

LINEAR = 1000.0  # Hz up to which the scale is linear; above it is logarithmic
STEP = 200 / 3  # Hz of a mel below
RATIO = math.log(6.4) / 27  # logarithm of the ratio of two frequencies a mel apart above
LEAST = 1e-10  # power that counts as none
RANGE = 8.0  # decades below the loudest band of a clip that are told apart


def to_mel(frequency: float) -> float:
    """Return a frequency on the mel scale of Slaney's Auditory Toolbox (1998)."""
    if frequency < LINEAR:
        return frequency / STEP
    return LINEAR / STEP + math.log(frequency / LINEAR) / RATIO


def from_mel(mels: Tensor) -> Tensor:
    """Return the frequencies (N,) of places on that scale."""
    above = LINEAR * torch.exp(RATIO * (mels - LINEAR / STEP))
    return torch.where(mels < LINEAR / STEP, STEP * mels, above)


@functools.lru_cache(maxsize=16)
def mel_bands(rate: int, n_fft: int, bands: int) -> Tensor:
    """Return (N, M), triangles evenly spaced on the mel scale, each with an area of 1."""
    places = torch.linspace(0, to_mel(rate / 2), bands + 2, dtype=torch.float64)
    edges = from_mel(places)
    frequencies = torch.linspace(0, rate / 2, n_fft // 2 + 1, dtype=torch.float64)[:, None]
    rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return (triangles * (2 / (edges[2:] - edges[:-2]))).float()


def log_mel_features(wave: Tensor, rate: int, n_fft: int, hop: int, bands: int) -> Tensor:
    """Return features (B, M, F) of sounds (B, S) of -1 to 1, where F = S / hop.

    max(log10(power), loudest - 8) / 4 + 1 (openai/whisper: whisper/audio.py).
    """
    shape = torch.hann_window(n_fft, device=wave.device)
    spectrum = torch.stft(wave, n_fft, hop, window=shape, return_complex=True)[..., :-1]
    power = spectrum.real.square() + spectrum.imag.square()  # (B, N, F)
    heard = mel_bands(rate, n_fft, bands).T.to(wave.device) @ power
    loud = heard.clamp(min=LEAST).log10()
    floor = loud.amax((1, 2), keepdim=True) - RANGE
    return torch.maximum(loud, floor) / 4 + 1
