"""Score a checkpoint by retrieval among the test images, and compare with their pixels.

    python eval.py                      the checkpoint that train.py wrote to `out`
    python eval.py --data my_images     a checkpoint that was trained on your folder

Each test image is a query once, and all other test images are searched for those of its class.
Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from data import Config as DataConfig
from data import load_images
from model import Config as ModelConfig
from model import Model
from runtime.errors import run
from runtime.image_batches import Images, Split, batches
from runtime.pixel_rows import flat_pixels, without_copies
from runtime.report import Report, metric
from runtime.scores import Mean, Samples
from runtime.scripts import Setting, Trained, scoring

CUTS = (1, 2, 4, 8, 16)  # k of the recall@k in the figure
CHUNK = 1024  # queries compared at once; more take more memory and give the same ranks
MOST_AXES = 128  # directions of the discriminant; those after it separate few classes
RIDGE = 0.1  # share of the mean variance that is added to all, since classes are small


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 256
    """Images scored at once."""
    baseline_side: int = 16
    """Height and width of images for the baselines, in pixels."""
    baseline_images: int = 20000
    """Training images above which the discriminant is left out."""


@torch.no_grad()
def vectors_of(
    model: Model, split: Split, config: Config, data: DataConfig, device: torch.device
) -> Tensor:
    """Return the vector of each image of a split: (N, E)."""
    parts = [model(x.to(device)).float().cpu() for x, _ in batches(split, config.batch_size, data)]
    return torch.cat(parts)


def hits_of(vectors: Tensor, targets: Tensor) -> Tensor:
    """Return, for each query, which of all other images by rank have its class: (N, N - 1), bool.

    Vectors have length 1; the nearest image is first.
    """
    parts = []
    for start in range(0, len(vectors), CHUNK):
        queries = torch.arange(start, min(start + CHUNK, len(vectors)))
        cosines = vectors[queries] @ vectors.T
        # A query is never its own answer.
        cosines[torch.arange(len(queries)), queries] = -torch.inf
        # A stable sort puts ties in the same order for every method.
        order = cosines.argsort(dim=1, descending=True, stable=True)[:, :-1]
        parts.append(targets[order] == targets[queries, None])
    return torch.cat(parts)


def recall_at(hits: Tensor, cut: int) -> Tensor:
    """Return 1 for each query with an image of its class among the first, else 0: (N,)."""
    return hits[:, :cut].any(1).double()


def map_at_r(hits: Tensor) -> Tensor:
    """Return the mean average precision at R of each query: (N,).

    R is the number of other images of its class: (1 / R) * sum over ranks i <= R of precision(i),
    where rank i has the right class (Musgrave et al., 2020, section 3.2).
    """
    counts = hits.sum(1, keepdim=True)
    ranks = torch.arange(1, hits.size(1) + 1)
    precision = hits.cumsum(1) / ranks
    return torch.where(hits & (ranks <= counts), precision, 0.0).sum(1).double() / counts[:, 0]


def baselines(
    images: Images, load_small: Callable[[], Images], config: Config
) -> dict[str, Tensor]:
    """Return the vectors of the test images by simpler methods, of length 1.

    `pixels` are the images themselves, scaled down and without their mean; `discriminant` projects
    these to where training classes lie apart and are narrow (Fisher, 1936).
    """
    small = load_small()
    both = [flat_pixels(small.splits[split], config.batch_size) for split in ("train", "test")]
    known, test = without_copies(both, small.splits["train"].pixels[[0]].size(1))
    # An image's own brightness tells no class.
    known, test = (each - each.mean(1, keepdim=True) for each in (known, test))
    found = {"pixels": F.normalize(test, dim=1)}
    if len(known) <= config.baseline_images:
        axes = discriminant(known, images.splits["train"].targets)
        found["discriminant"] = F.normalize((test - known.mean(0)) @ axes, dim=1)
    return found


def discriminant(rows: Tensor, targets: Tensor) -> Tensor:
    """Return the directions (D, K) between which classes differ most, relative to their spread."""
    places = torch.from_numpy(np.unique(targets.numpy(), return_inverse=True)[1])
    counts = torch.bincount(places).double()[:, None]
    sums = rows.new_zeros(len(counts), rows.size(1)).index_add_(0, places, rows)
    means = sums / counts
    inside = rows - means[places]
    within = inside.T @ inside / len(rows)
    within += RIDGE * within.diagonal().mean() * torch.eye(len(within), dtype=rows.dtype)
    apart = (means - rows.mean(0)) * (counts / len(rows)).sqrt()
    values, vectors = torch.linalg.eigh(within)
    white = vectors / values.sqrt()
    _, _, directions = torch.linalg.svd(apart @ white, full_matrices=False)
    made: Tensor = white @ directions[:MOST_AXES].T
    return made


def metrics(hits: dict[str, Tensor], targets: Tensor) -> list[dict[str, Any]]:
    """Return recall at 1 and mean average precision at R, with those of the baselines."""
    _, groups = np.unique(targets.numpy(), return_inverse=True)
    # Images of a class are each other's answers, so they are drawn together.
    samples = Samples("images", len(targets), groups, "classes")
    rows = []
    for name, title, score in (
        ("recall_at_1", "Recall@1", lambda each: recall_at(each, 1)),
        # It also asks where the other images of the class are.
        ("map_at_r", "MAP@R", map_at_r),
    ):
        scores = {method: Mean(score(each)) for method, each in hits.items()}
        own = scores.pop("model")
        rows.append(metric(name, "share", own, scores, samples, title=title, higher_is_better=True))
    return rows


def recalls(hits: dict[str, Tensor]) -> dict[str, Any]:
    """Return recall@k over k, for each method."""
    series = [
        {
            "name": "proxy" if name == "model" else name,
            "x": list(CUTS),
            "y": [round(recall_at(each, cut).mean().item(), 4) for cut in CUTS],
            "style": "line" if name == "model" else "dashed",
        }
        for name, each in hits.items()
    ]
    return {"kind": "lines", "x": "nearest images", "y": "recall (share)", "series": series}


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint by what it finds among the images of the test split."""
    config, data, path = trained.config, trained.data, trained.args.data
    images = load_images(data, path, trained.model)
    model = trained.load(lambda: Model(trained.model))
    side = config.baseline_side
    # The folder is read again at the small size, so that each method scales the original images.
    small = replace(trained.model, image_height=side, image_width=side)
    test = images.splits["test"]
    found = {"model": vectors_of(model, test, config, data, trained.device)}
    found |= baselines(images, lambda: load_images(data, path, small), config)
    # A class with one image has nothing to find, but its image is still in the way of others.
    scored = torch.bincount(test.targets)[test.targets] > 1
    hits = {name: hits_of(each, test.targets)[scored] for name, each in found.items()}
    return Report(
        images.name,
        images.sha256,
        int(scored.sum()),
        metrics(hits, test.targets[scored]),
        recalls(hits),
        n_unit="images",
    )


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: bundled letters)",
    settings={"batch_size": Setting("images scored at once")},
)

if __name__ == "__main__":
    run(main)
