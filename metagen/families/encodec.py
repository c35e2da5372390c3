"""A residual vector-quantized codec of sound in the EnCodec form, as a list of layers.

Defossez et al., 2022, arXiv:2210.13438, section 3. Each function counts for a number of frames.
"""

from __future__ import annotations

from metagen.families.family import Dims
from metagen.families.parts import Part
from metagen.tasks.audio_generation import STRIDES, hop

KERNEL, RESIDUAL_KERNEL = 7, 3
HELD = 3  # tensors of the full length that a residual block holds


def _convolution(inputs: float, outputs: float, kernel: float, places: float) -> Part:
    """Return a convolution of directions, with the lengths of its kernels and its biases."""
    return Part(int(inputs * outputs * kernel), int(2 * outputs), int(places))


def _transposed(inputs: float, outputs: float, kernel: float, places: float) -> Part:
    """Return its mirror image; a length is of an input's kernels, and `places` are of the input."""
    return Part(int(inputs * outputs * kernel), int(inputs + outputs), int(places))


def _residual(width: float, places: float) -> list[Part]:
    half = width // 2
    return [
        _convolution(width, half, RESIDUAL_KERNEL, places),
        _convolution(half, width, 1, places),
    ]


def _recurrent(m: Dims, width: float, frames: float) -> Part:
    """Return layers of LSTM: four gates, each from an input and a state of the width."""
    return Part(int(8 * width * width), int(8 * width), int(frames)) * m["codec_lstm_layers"]


def encoder(m: Dims, frames: float) -> list[Part]:
    """Return the layers from samples to latents."""
    width, places = m["codec_filters"], frames * hop(m)
    made = [_convolution(1, width, KERNEL, places)]
    for name in STRIDES:
        made += _residual(width, places)
        places /= m[name]
        made += [_convolution(width, 2 * width, 2 * m[name], places)]
        width *= 2
    return [
        *made,
        _recurrent(m, width, frames),
        _convolution(width, m["codec_dim"], KERNEL, frames),
    ]


def decoder(m: Dims, frames: float) -> list[Part]:
    """Return the layers from latents to samples."""
    width, places = m["codec_filters"] * 2 ** len(STRIDES), frames
    made = [_convolution(m["codec_dim"], width, KERNEL, frames), _recurrent(m, width, frames)]
    for name in reversed(STRIDES):
        made += [_transposed(width, width / 2, 2 * m[name], places)]
        width, places = width / 2, places * m[name]
        made += _residual(width, places)
    return [*made, _convolution(width, 1, KERNEL, places)]


def books(m: Dims, frames: float) -> list[Part]:
    """Return the codebooks, whose entries are compared with each frame."""
    return [Part(int(m["codebook_size"] * m["codec_dim"]), places=int(frames)) * m["n_codebooks"]]


def layers(m: Dims, frames: float = 1) -> list[Part]:
    """Return the encoder, the codebooks and the decoder."""
    return [*encoder(m, frames), *books(m, frames), *decoder(m, frames)]
