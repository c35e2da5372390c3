"""A codec of sound without a network: a cosine transform, and residual k-means of its frames.

It gives as many bits a second as a neural codec with the same frames and codebooks.

Shapes in comments: B clips, S samples, F frames, H samples of a frame, N entries of a codebook.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

ITERATIONS = 10  # rounds of k-means
MOST_FRAMES = 50_000  # frames that it is fitted on, spread evenly


class TransformCodec:
    """The modified discrete cosine transform (Princen & Bradley, 1986) with codebooks."""

    def __init__(self, wave: Tensor, hop: int, books: int, entries: int) -> None:
        """Fit the codebooks on clips (B, S), where S is a multiple of the frame `hop`."""
        places = torch.arange(2 * hop)
        angles = math.pi / hop * (places[:, None] + 0.5 + hop / 2) * (torch.arange(hop) + 0.5)
        window = torch.sin(math.pi / (2 * hop) * (places + 0.5))[:, None]
        self.hop = hop
        self.basis = window * angles.cos() * math.sqrt(2 / hop)  # (2H, H), orthonormal
        rest = self.frames(wave).flatten(0, 1)
        rest = rest[:: math.ceil(len(rest) / MOST_FRAMES)]
        self.books: list[Tensor] = []
        for _ in range(books):
            self.books.append(_centres(rest, min(entries, len(rest))))
            rest = rest - self._entry(rest, self.books[-1])

    def frames(self, wave: Tensor) -> Tensor:
        """Return the transform (B, F, H) of clips (B, S)."""
        padded = F.pad(wave, (self.hop, self.hop))
        return padded.unfold(1, 2 * self.hop, self.hop) @ self.basis

    def __call__(self, wave: Tensor) -> Tensor:
        """Return what the codec makes of clips (B, S)."""
        frames = self.frames(wave)
        rest = frames.flatten(0, 1)
        for book in self.books:
            rest = rest - self._entry(rest, book)
        coded = frames - rest.view_as(frames)
        # A half of a frame overlaps with a half of the next, and what the transform folds cancels.
        first, second = (coded @ self.basis.T).chunk(2, dim=-1)
        return (first[:, 1:] + second[:, :-1]).flatten(1)

    def _entry(self, rest: Tensor, book: Tensor) -> Tensor:
        return book[_nearest(rest, book)]


def _nearest(points: Tensor, centres: Tensor) -> Tensor:
    # |x - c|^2 without |x|^2, in parts, so that the distances of many frames fit in memory.
    squares = centres.square().sum(1)
    cuts = torch.split(points, 4096)
    return torch.cat([(squares - 2 * (cut @ centres.T)).argmin(1) for cut in cuts])


def _centres(points: Tensor, count: int) -> Tensor:
    """Return the centres (N, H) of k-means of points (F, H), begun at points drawn once."""
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))
    centres = points[order[:count]].clone()
    for _ in range(ITERATIONS):
        owner = _nearest(points, centres)
        sums = torch.zeros_like(centres).index_add_(0, owner, points)
        sizes = torch.bincount(owner, minlength=count)
        # A centre that no point is nearest to stays where it is.
        centres = torch.where(sizes[:, None] > 0, sums / sizes.clamp(min=1)[:, None], centres)
    return centres
