"""Hidden Markov models of whole words, the classical way to recognize words in a row.

A word is a row of states, each with the mean and the variance of its frames. Training starts from
equal cuts and assigns frames to states anew in each round (segmental k-means: Rabiner, 1989,
section IV); recognition finds the likeliest row of words.

Shapes in comments: F frames, C coefficients, K states.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.float64]  # (F, C)
STATES = 4  # states of a word; a word is at least as many frames long
ROUNDS = 6
COEFFICIENTS = 13
MOST_WORDS = 200  # The commonest words have a model; more would take long.
LEAST_VARIANCE = 0.05
PENALTIES = (0.0, 10.0, 20.0, 40.0, 80.0)  # what a word costs, in nats
TUNED = 60  # training clips that choose among them
SILENCE = ""


def cepstra(features: NDArray[np.float32]) -> Frames:
    """Return cepstral coefficients and their slopes (F, 2C) of log-mel features (M, F)."""
    bands = features.shape[0]
    places = (np.arange(bands) + 0.5) * np.pi / bands
    waves = np.cos(np.arange(min(COEFFICIENTS, bands))[:, None] * places)  # (C, M)
    found = (waves @ features).T.astype(np.float64)
    found = (found - found.mean(0)) / (found.std(0) + 1e-6)
    slopes = np.gradient(found, axis=0)
    return np.concatenate((found, 2 * slopes), axis=1)


class WordModels:
    """The commonest words of some training clips, each with its states."""

    def __init__(self, clips: Sequence[Frames], texts: Sequence[Sequence[str]]) -> None:
        """Train on clips and their words; those with a word that is not common are left out."""
        counts = Counter(word for text in texts for word in text)
        common = {word for word, _ in counts.most_common(MOST_WORDS)}
        pairs = [(c, t) for c, t in zip(clips, texts, strict=True) if self._fits(c, t, common)]
        self.words = sorted({word for _, text in pairs for word in text})
        self.penalty = 0.0
        if not pairs:
            return
        chains = [self.chain(text) for _, text in pairs]
        paths = [_cut(len(clip), chain) for (clip, _), chain in zip(pairs, chains, strict=True)]
        for _ in range(ROUNDS):
            self._estimate([clip for clip, _ in pairs], paths)
            paths = [
                self._aligned(clip, chain) for (clip, _), chain in zip(pairs, chains, strict=True)
            ]
        self._tune(pairs[:TUNED])

    def _fits(self, clip: Frames, text: Sequence[str], common: set[str]) -> bool:
        return bool(text) and common >= set(text) and len(clip) >= STATES * len(text) + 2

    def chain(self, text: Sequence[str]) -> list[int]:
        """Return the numbers of a text's states: silence, each word's, silence.

        State 0 is silence; the others are those of the words, in their order.
        """
        first = {word: 1 + STATES * place for place, word in enumerate(self.words)}
        inner = [first[word] + step for word in text for step in range(STATES)]
        return [0, *inner, 0]

    def _estimate(self, clips: Sequence[Frames], paths: Sequence[NDArray[np.int64]]) -> None:
        """Set the mean and the variance of each state from the frames that are assigned to it."""
        frames, states = np.concatenate(clips), np.concatenate(paths)
        count = 1 + STATES * len(self.words)
        size = np.bincount(states, minlength=count)[:, None]
        self.mean = np.stack(
            [np.bincount(states, column, count) for column in frames.T], axis=1
        ) / np.maximum(size, 1)
        squares = np.stack([np.bincount(states, column**2, count) for column in frames.T], axis=1)
        variance = squares / np.maximum(size, 1) - self.mean**2
        self.variance = np.maximum(variance, LEAST_VARIANCE)

    def _fit_of(self, clip: Frames) -> NDArray[np.float64]:
        """Return (F, K), the logarithm of the density of each frame in each state."""
        apart = clip[:, None] - self.mean
        fit: NDArray[np.float64] = -0.5 * (apart**2 / self.variance + np.log(self.variance)).sum(2)
        return fit

    def _aligned(self, clip: Frames, chain: Sequence[int]) -> NDArray[np.int64]:
        """Return the state of each frame (F,) on the likeliest path through a chain."""
        fit = self._fit_of(clip)[:, chain]
        score = np.full(len(chain), -np.inf)
        score[0] = fit[0, 0]
        score[1] = fit[0, 1]  # silence before the first word may be missing
        moved = np.zeros(fit.shape, dtype=bool)
        for frame in range(1, len(fit)):
            before = np.concatenate(([-np.inf], score[:-1]))
            moved[frame] = before > score
            score = np.maximum(score, before) + fit[frame]
        place = len(chain) - 1 - int(score[-2] > score[-1])
        path = np.empty(len(fit), dtype=np.int64)
        for frame in range(len(fit) - 1, -1, -1):
            path[frame] = chain[place]
            place -= int(moved[frame, place])
        return path

    def _tune(self, pairs: Sequence[tuple[Frames, Sequence[str]]]) -> None:
        """Choose what a word costs by the errors on some training clips."""
        from runtime.edits import edit_distance

        def errors(penalty: float) -> int:
            self.penalty = penalty
            return sum(edit_distance(self.recognized(clip), text) for clip, text in pairs)

        self.penalty = min(PENALTIES, key=errors)

    def recognized(self, clip: Frames) -> list[str]:
        """Return the words of the likeliest path, in which any word follows any other."""
        if not self.words:
            return []
        fit = self._fit_of(clip)
        firsts = np.arange(1, fit.shape[1], STATES)
        lasts = firsts + STATES - 1
        score = np.full(fit.shape[1], -np.inf)
        score[0], score[firsts] = fit[0, 0], fit[0, firsts] - self.penalty
        before = np.zeros(fit.shape, dtype=np.int64)
        own = np.arange(fit.shape[1])
        for frame in range(1, len(fit)):
            ends = np.concatenate(([0], lasts))
            best = int(ends[score[ends].argmax()])  # the end that a word or silence follows
            entry = np.concatenate(([-np.inf], score[:-1]))
            origin = own - 1
            entry[firsts], origin[firsts] = score[best] - self.penalty, best
            entry[0], origin[0] = score[best], best
            stays = score >= entry
            before[frame] = np.where(stays, own, origin)
            score = np.where(stays, score, entry) + fit[frame]
        return self._traced(before, int(max((0, *lasts), key=lambda state: score[state])))

    def _traced(self, before: NDArray[np.int64], state: int) -> list[str]:
        """Return the words that a path enters, from its last state back."""
        words = []
        for frame in range(len(before) - 1, -1, -1):
            came = int(before[frame, state]) if frame else -1
            if state and (state - 1) % STATES == 0 and came != state:
                words.append(self.words[(state - 1) // STATES])
            state = came
        return words[::-1]


def _cut(frames: int, chain: Sequence[int]) -> NDArray[np.int64]:
    """Return the state of each frame where all states of a chain are equally long."""
    places = np.arange(frames) * len(chain) // frames
    return np.asarray(chain, dtype=np.int64)[places]
