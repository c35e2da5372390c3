"""Score clouds that a checkpoint draws for the captions of the test split, beside simple methods.

    python eval.py                                  the checkpoint that train.py wrote to `out`
    python eval.py --size full --data my_shapes     the full model, on your shapes

Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split. The
unit of length is half a side of the cube that shapes are scaled into.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data import Config as DataConfig
from data import Split, load_shapes
from model import Config as ModelConfig
from model import Model, conditions
from runtime.clouds import drawn
from runtime.errors import run
from runtime.report import Report, metric
from runtime.scores import Mean, Samples
from runtime.scripts import Setting, Trained, scoring

SHOWN = 6  # captions of the figure
SHOWN_POINTS = 256  # points of a cloud of the figure; the report grows with them
FITTED = 2000  # pairs of training shapes that costs of words are fitted on
PAIRS = 64  # clouds that are compared with one another at once


@dataclass(frozen=True)
class Config:
    """How clouds are drawn and scored."""

    points: int = 1024
    """Points of each cloud, drawn or real."""
    batch_size: int = 16
    """Clouds drawn at once."""
    sampling_steps: int = 50
    """Steps from noise to a cloud."""
    guidance: float = 1.0
    """Strength of the caption; 1 samples the model's own distribution, more reduces variety."""
    shapes: int = 1000
    """Largest number of test shapes that are scored, each with one cloud drawn for its caption."""
    references: int = 2000
    """Largest number of training shapes that simple methods choose from."""
    seed: int = 42
    """Seed of the noise, of the points of real shapes, and of the simple methods."""


@dataclass(frozen=True)
class Clouds:
    """Clouds with their captions.

    Attributes:
        points: (S, N, 3).
        captions: The caption of each.
    """

    points: Tensor
    captions: list[str]

    def __len__(self) -> int:
        return len(self.captions)


def real(split: Split, most: int, points: int, seed: int) -> Clouds:
    """Return clouds of the first shapes of a split."""
    # The digests that cut the splits are as good as random; solids are taken evenly.
    places = [round(i) for i in np.linspace(0, len(split) - 1, min(most, len(split)))]
    clouds = torch.stack([split.cloud(place, points, seed) for place in places])
    return Clouds(clouds, [split.captions[place] for place in places])


def chamfer(a: Tensor, b: Tensor) -> Tensor:
    """Return the Chamfer distance of clouds (S, N, 3) and (S, M, 3), (S,).

    The mean squared distance to the nearest point of the other cloud, from a to b and from b to a
    (Fan et al., 2017, arXiv:1612.00603, section 4.2, with means in place of sums).
    """
    apart = torch.cdist(a, b).square()
    return apart.amin(2).mean(1) + apart.amin(1).mean(1)


def between(a: Tensor, b: Tensor) -> Tensor:
    """Return the Chamfer distance of each cloud of a from each of b, (A, B)."""
    rows = []
    for cloud in a:
        same = (cloud.expand(len(part), -1, -1) for part in torch.split(b, PAIRS))
        rows.append(
            torch.cat([chamfer(c, p) for c, p in zip(same, torch.split(b, PAIRS), strict=True)])
        )
    return torch.stack(rows)


def covered(clouds: Tensor, test: Tensor) -> Tensor:
    """Return which test clouds are the nearest one of some drawn cloud, (S,) of 0 and 1.

    Their share is the coverage of Achlioptas et al., 2018, arXiv:1707.02392, section 5.
    """
    nearest = between(clouds, test).argmin(1)
    return torch.zeros(len(test)).index_fill(0, nearest, 1.0)


def simple_methods(train: Clouds, captions: Sequence[str], seed: int) -> dict[str, Tensor]:
    """Return clouds for captions by methods that learn no shapes.

    `Gaussian` has the mean and the deviations of all training points; `sphere` has their mean
    distance from the origin; `all shapes` draws points of all training shapes together. The others
    are training shapes: a random one, one whose caption shares most words, and one whose caption is
    nearest where each word has a fitted cost.
    """
    generator = torch.Generator().manual_seed(seed)
    points, size = train.points, (len(captions), *train.points.shape[1:])
    every = points.reshape(-1, points.shape[-1])
    noise = torch.randn(size, generator=generator)
    mixed = every[torch.randint(len(every), size[:2], generator=generator)]
    equal = dict.fromkeys(words_of(train.captions), 1.0)
    nearest, fitted = (
        points[nearest_caption(train.captions, captions, costs, generator)]
        for costs in (equal, fitted_costs(train, generator))
    )
    return {
        "Gaussian": every.mean(0) + every.std(0) * noise,
        "sphere": every.norm(dim=1).mean() * noise / noise.norm(dim=2, keepdim=True),
        "all shapes": mixed,
        "random shape": points[torch.randint(len(train), size[:1], generator=generator)],
        "nearest caption": nearest,
        "nearest caption, fitted": fitted,
    }


def words_of(captions: Sequence[str]) -> list[str]:
    """Return the distinct words of captions, in order."""
    return sorted({word for caption in captions for word in caption.lower().split()})


def fitted_costs(train: Clouds, generator: torch.Generator) -> dict[str, float]:
    """Return how much a word adds to the distance of two shapes if only one caption has it.

    Least squares over random pairs of training shapes; a negative cost becomes 0.
    """
    one, two = torch.randint(len(train), (2, FITTED), generator=generator)
    apart = [chamfer(train.points[a], train.points[b]) for a, b in batched(one, two)]
    words = {word: place for place, word in enumerate(words_of(train.captions))}
    present = torch.zeros(len(train), len(words))
    for row, caption in zip(present, train.captions, strict=True):
        row[[words[word] for word in caption.lower().split()]] = 1
    differ = torch.cat(((present[one] - present[two]).abs(), torch.ones(FITTED, 1)), dim=1)
    # The smallest solution is taken, since one of a few exclusive words is always the only one.
    found = torch.linalg.lstsq(differ.double(), torch.cat(apart).double(), driver="gelsd").solution
    return dict(zip(words, found[:-1].clamp(min=0).tolist(), strict=True))


def batched(one: Tensor, two: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield pairs of indices in parts that are compared at once."""
    return zip(torch.split(one, PAIRS), torch.split(two, PAIRS), strict=True)


def nearest_caption(
    known: Sequence[str],
    captions: Sequence[str],
    costs: Mapping[str, float],
    generator: torch.Generator,
) -> Tensor:
    """Return a training shape for each caption, whose own caption is nearest.

    The distance is the cost of all words that only one of the two has. Among equals, chance
    decides.
    """
    words = [frozenset(caption.lower().split()) for caption in known]
    chosen = []
    for caption in captions:
        own = frozenset(caption.lower().split())
        # Sorted words are summed in one order, so that equal distances are equal numbers.
        apart = torch.tensor([sum(costs.get(w, 0.0) for w in sorted(own ^ e)) for e in words])
        best = (apart <= apart.min()).nonzero().flatten()
        chosen.append(best[torch.randint(len(best), (1,), generator=generator)])
    return torch.cat(chosen)


def same_caption(test: Clouds) -> Tensor | None:
    """Return for each test cloud another one of its caption; None where a caption has only one."""
    places: dict[str, list[int]] = {}
    for place, caption in enumerate(test.captions):
        places.setdefault(caption, []).append(place)
    if min(map(len, places.values())) < 2:
        return None
    following = {
        a: b for own in places.values() for a, b in zip(own, own[1:] + own[:1], strict=True)
    }
    return test.points[[following[place] for place in range(len(test))]]


def metrics(own: Tensor, test: Clouds, train: Clouds, seed: int) -> list[dict[str, Any]]:
    """Return the metrics of drawn clouds, with those of simple methods.

    `another real shape` is no method: it shows the distance of two real shapes of one caption.
    """
    others = simple_methods(train, test.captions, seed)
    if (twins := same_caption(test)) is not None:
        others["another real shape"] = twins
    number = {caption: i for i, caption in enumerate(dict.fromkeys(test.captions))}
    # Shapes of one caption are alike, so they are resampled together.
    groups = np.array([number[caption] for caption in test.captions])
    shared = len(number) < len(test)
    samples = Samples("shapes", len(test), *((groups, "captions") if shared else ()))
    measures = {"chamfer_distance": chamfer, "coverage": covered}
    return [
        *(scored(name, of, own, others, test.points, samples) for name, of in measures.items()),
        memory_metric(own, test, train),
    ]


TITLES = {
    "chamfer_distance": ("Chamfer distance", "squared length", False),
    "coverage": ("coverage", "share", True),
}


def scored(
    name: str,
    of: Callable[[Tensor, Tensor], Tensor],
    own: Tensor,
    others: dict[str, Tensor],
    test: Tensor,
    samples: Samples,
) -> dict[str, Any]:
    """Return a metric that is a mean over test shapes."""
    title, unit, higher = TITLES[name]
    baselines = {other: Mean(of(clouds, test)) for other, clouds in others.items()}
    return metric(
        name, unit, Mean(of(own, test)), baselines, samples, title=title, higher_is_better=higher
    )


def memory_metric(own: Tensor, test: Clouds, train: Clouds) -> dict[str, Any]:
    """Return the distance of a drawn cloud from the nearest training shape, which shows copies."""
    # A larger distance is no sign of quality, so neither direction is better.
    apart, of_test = (between(each, train.points).amin(1) for each in (own, test.points))
    return metric(
        "nearest_training_shape",
        "squared length",
        Mean(apart),
        {"real test shapes": float(of_test.mean())},
        Samples("drawn shapes", len(own)),
        title="Chamfer distance to the nearest training shape",
        higher_is_better=None,
        status="no score",
        n=len(own),
        n_unit="drawn shapes",
    )


def figure(own: Tensor, test: Clouds) -> dict[str, Any]:
    """Return real and drawn clouds of some captions."""
    firsts = {caption: place for place, caption in reversed([*enumerate(test.captions)])}
    every = list(reversed(firsts.items()))
    chosen = every[:: max(1, len(every) // SHOWN)][:SHOWN]
    clouds = [
        {"caption": caption, "real": _shown(test.points[place]), "drawn": _shown(own[place])}
        for caption, place in chosen
    ]
    return {"kind": "clouds", "clouds": clouds}


def _shown(points: Tensor) -> list[list[float]]:
    """Return some points of a cloud with two decimals, which keep the report short."""
    return [[round(value, 2) for value in point] for point in points[:SHOWN_POINTS].tolist()]


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint by a cloud for the caption of each test shape."""
    config, count = trained.config, trained.config.points
    data = load_shapes(trained.data, trained.args.data)
    model = trained.load(lambda: Model(trained.model))
    test = real(data.splits["test"], config.shapes, count, config.seed)
    train = real(data.splits["train"], config.references, count, config.seed)
    read = functools.partial(conditions, trained.model)
    own = drawn(model, read, test.captions, config, count, trained.device, config.batch_size)
    return Report(
        data.name,
        data.sha256,
        len(test),
        metrics(own, test, train, config.seed),
        figure(own, test),
        n_unit="shapes",
    )


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: simple solids)",
    settings={
        "points": Setting("points of each cloud"),
        "batch_size": Setting("clouds drawn at once"),
        "seed": Setting("seed of the noise, and of the simple methods"),
        "shapes": Setting("test shapes that are scored, at most"),
        "sampling_steps": Setting("steps from noise to a cloud"),
        "guidance": Setting("strength of the caption; 1 is the model's own distribution", float),
    },
)

if __name__ == "__main__":
    run(main)
