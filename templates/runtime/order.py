"""The order of training samples, and the seeds of random numbers: functions of the step alone."""

import functools

import torch


@functools.lru_cache(maxsize=2)
def epoch_order(samples: int, seed: int, epoch: int) -> torch.Tensor:
    """Return the shuffled indices of one epoch, shape (samples,)."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(samples, generator=generator)


def samples_at(position: int, count: int, samples: int, seed: int) -> list[tuple[int, int]]:
    """Return (epoch, index) of the next samples in an endless shuffled stream.

    The stream is a function of the position alone, so a resumed run neither repeats nor skips a
    sample. Each epoch contains every sample once.
    """
    places = (divmod(p, samples) for p in range(position, position + count))
    return [(epoch, int(epoch_order(samples, seed, epoch)[i])) for epoch, i in places]


def be_random_at(seed: int, step: int, rank: int) -> None:
    """Seed the random numbers of a process in a step, so that a resumed run draws the same ones."""
    torch.manual_seed(((seed * 1_000_003 + step) * 1_009 + rank) % 2**63)
