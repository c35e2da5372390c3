"""The residual vector-quantized codec of audio in the EnCodec form (Defossez et al., 2022).

arXiv:2210.13438, section 3; the form without causal padding that MusicGen reads (arXiv:2306.05284).
The codebooks are learned by their gradients, as in VQ-VAE (arXiv:1711.00937) and the Descript codec
(arXiv:2306.06546), in the place of EnCodec's moving averages.

Shapes in comments: B clips, S samples, T frames, K codebooks, N entries of a codebook, C channels,
D numbers of a latent.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERNEL = 7  # samples of the first and the last kernels
RESIDUAL_KERNEL = 3  # samples of the first kernel of a residual block


class Convolution(nn.Module):
    """A convolution whose kernels have a direction and a length (Salimans & Kingma, 2016).

    arXiv:1602.07868. S samples become S / stride, or S * stride if the convolution is transposed.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, transposed: bool = False
    ) -> None:
        super().__init__()
        self.stride, self.transposed = stride, transposed
        # The even part of the padding is the convolution's own; an odd stride adds one on the left.
        self.padding, self.extra = (kernel - stride) // 2, (kernel - stride) % 2
        shape = (inputs, outputs, kernel) if transposed else (outputs, inputs, kernel)
        bound = 1 / math.sqrt(inputs * kernel)
        self.direction = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.length = nn.Parameter(self.direction.detach().norm(dim=(1, 2)))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, S) to (B, outputs, S / stride), or S * stride if transposed."""
        length = self.length / self.direction.norm(dim=(1, 2))
        kernel = self.direction * length[:, None, None]
        if self.transposed:
            x = F.conv_transpose1d(x, kernel, self.bias, self.stride, self.padding)
            return x[..., self.extra :]
        x = F.pad(x, (self.extra, 0)) if self.extra else x
        return F.conv1d(x, kernel, self.bias, self.stride, self.padding)


class Residual(nn.Module):
    """A shortcut around two convolutions, the second of one sample, through half the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.narrow = Convolution(width, width // 2, RESIDUAL_KERNEL)
        self.widen = Convolution(width // 2, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, S) to (B, width, S)."""
        x = x + self.widen(F.elu(self.narrow(F.elu(x))))
        return x


class Recurrent(nn.Module):
    """Layers of LSTM over the frames, with a shortcut around all of them."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, T) to (B, width, T)."""
        frames = x.permute(2, 0, 1)  # (T, B, width)
        x = (self.lstm(frames)[0] + frames).permute(1, 2, 0)
        return x


def encoder(config: Any) -> nn.ModuleList:
    """Return the layers from samples (B, 1, S) to latents (B, D, T)."""
    width = config.codec_filters
    layers: list[nn.Module] = [Convolution(1, width, KERNEL)]
    for stride in config.strides():
        layers += [Residual(width), nn.ELU()]
        layers += [Convolution(width, 2 * width, 2 * stride, stride)]
        width *= 2
    layers += [Recurrent(width, config.codec_lstm_layers), nn.ELU()]
    return nn.ModuleList([*layers, Convolution(width, config.codec_dim, KERNEL)])


def decoder(config: Any) -> nn.ModuleList:
    """Return the layers from latents (B, D, T) to samples (B, 1, S)."""
    width = config.codec_filters << len(config.strides())
    layers: list[nn.Module] = [Convolution(config.codec_dim, width, KERNEL)]
    layers += [Recurrent(width, config.codec_lstm_layers)]
    for stride in reversed(config.strides()):
        layers += [nn.ELU(), Convolution(width, width // 2, 2 * stride, stride, transposed=True)]
        layers += [Residual(width // 2)]
        width //= 2
    return nn.ModuleList([*layers, nn.ELU(), Convolution(width, 1, KERNEL)])


def idle(book: Tensor, codes: Tensor, latents: Tensor) -> Tensor:
    """Return the mean squared distance of a codebook's idle entries from the nearest latents.

    EnCodec replaces entries that are not in use by latents of the batch; here they are drawn to
    the nearest ones, so that not all latents end at the few entries that were nearest at first.

    Args:
        book: (N, D) the entries.
        codes: (B, T) the entries in use.
        latents: (B, T, D) what the codebook codes.
    """
    flat = latents.flatten(0, 1)
    drawn = flat[(flat.square().sum(1) - 2 * (book.detach() @ flat.T)).argmin(1)]  # (N, D)
    unused = torch.ones(len(book), device=flat.device).index_fill(0, codes.flatten(), 0)
    return ((book - drawn).square().mean(1) * unused).mean()


class Codec(nn.Module):
    """Encoder, codebooks and decoder."""

    def __init__(self, config: Any) -> None:
        """Take the model's `Config`, which has the codec's dimensions."""
        super().__init__()
        self.encoder = encoder(config)
        self.decoder = decoder(config)
        shape = (config.n_codebooks, config.codebook_size, config.codec_dim)
        self.codebooks = nn.Parameter(torch.randn(shape) / math.sqrt(config.codec_dim))

    def latents(self, wave: Tensor) -> Tensor:
        """Return (B, T, D) of clips (B, 1, S); S is a multiple of the samples of a frame."""
        for layer in self.encoder:
            wave = layer(wave)
        return wave.transpose(1, 2)

    def nearest(self, rest: Tensor, book: Tensor) -> Tensor:
        """Return (B, T), the entry of a codebook (N, D) that is nearest to each of (B, T, D)."""
        # |rest - entry|^2 without |rest|^2, which is the same for all entries.
        return (book.square().sum(1) - 2 * (rest @ book.T)).argmin(-1)

    def encode(self, wave: Tensor) -> Tensor:
        """Return the codes (B, K, T) of clips (B, 1, S): each codebook codes what is left over."""
        rest, codes = self.latents(wave), []
        for book in self.codebooks:
            codes.append(self.nearest(rest, book))
            rest = rest - F.embedding(codes[-1], book)
        return torch.stack(codes, dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return clips (B, 1, S) of codes (B, K, T)."""
        books = zip(codes.unbind(1), self.codebooks, strict=True)
        return self.resynthesize(torch.stack([F.embedding(*each) for each in books]).sum(0))

    def resynthesize(self, latents: Tensor) -> Tensor:
        """Return clips (B, 1, S) of latents (B, T, D)."""
        wave = latents.transpose(1, 2)
        for layer in self.decoder:
            wave = layer(wave)
        return wave

    def forward(self, wave: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return clips (B, 1, S) after a pass through the codes, and two distances.

        The first, |sg(z) - e|^2, draws entries to the latents that they stand for; the second,
        |z - sg(e)|^2, holds latents to their entries (arXiv:1711.00937, equation 3). Both are means
        over numbers, summed over codebooks; the first has that of `idle`. The decoder's gradient
        passes straight through the codes.
        """
        latents = self.latents(wave)  # (B, T, D)
        rest, drawn, held = latents, wave.new_zeros(()), wave.new_zeros(())
        for book in self.codebooks:
            codes = self.nearest(rest, book)
            entry = F.embedding(codes, book)
            drawn = drawn + F.mse_loss(entry, rest.detach()) + idle(book, codes, rest.detach())
            held = held + F.mse_loss(rest, entry.detach())
            rest = rest - entry.detach()
        quantized = latents - rest  # the sum of the entries
        return self.resynthesize(latents + (quantized - latents).detach()), drawn, held
