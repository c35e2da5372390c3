"""The Fréchet distance of two sets of samples, in a space that training samples span."""

import torch
from torch import Tensor

from runtime.scores import Score, Weights


def components(samples: Tensor, count: int) -> Tensor:
    """Return the first principal components of samples (N, D), as (D, K)."""
    # A covariance of all pixels would need far more images than there are; neighbouring pixels
    # vary together, so a few components keep most of the variance.
    axes: Tensor = torch.linalg.svd(samples - samples.mean(0), full_matrices=False)[
        2
    ]  # (min(N, D), D)
    return axes[:count].T


def frechet_distance(a: Tensor, b: Tensor) -> Score:
    """Return the Fréchet distance of the Gaussians fitted on (N, D) and (M, D), as a score over M.

    |m_a - m_b|^2 + trace(A + B - 2 (AB)^(1/2)): Heusel et al., 2017, arXiv:1706.08500, equation 6.
    """
    # Float64 matters here: the distance is a small difference of large traces.
    first = a.T.cov()
    values, axes = torch.linalg.eigh(first)
    root = axes * values.clamp(min=0).sqrt() @ axes.T

    def score(weights: Weights) -> float:
        times = torch.from_numpy(weights).long()
        mean, second = b.T @ times.double() / times.sum(), b.T.cov(fweights=times)
        # The root of AB has the trace of the root of A^(1/2) B A^(1/2), which is symmetric;
        # rounding makes some of its eigenvalues slightly negative.
        roots = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
        apart = (a.mean(0) - mean).square().sum()
        return float(apart + first.trace() + second.trace() - 2 * roots)

    return score
