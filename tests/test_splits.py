"""The splits of bundled data: no sample of one is in another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.made import Made, making
from helpers.turns import in_turn

Splits = dict[str, set[Any]]


def of_records(*columns: str) -> Callable[[Made], Splits]:
    """Return what tells the texts of each split, which are these columns of its records."""

    def splits(made: Made) -> Splits:
        every = made.code["data"].load_records(made.settings()[0], None)
        return {s: {tuple(r[c] for c in columns) for r in each} for s, each in every.items()}

    return splits


def of_numbered_texts(made: Made) -> Splits:
    every = made.code["data"].load_records(made.settings()[0], None, made.code["data"].SOLUBILITY)
    return {split: {record["text"] for record in each} for split, each in every.items()}


def of_classes(made: Made) -> Splits:
    data, model = made.settings()
    every = made.code["data"].load_images(data, None, model)
    return {s: {x.numpy().tobytes() for x in each.pixels} for s, each in every.splits.items()}


def of_numbered_images(made: Made) -> Splits:
    data, model = made.settings()
    code = made.code["data"]
    every = code.load_images(data, None, code.ANGLE, model)
    return {s: {x.numpy().tobytes() for x in each.pixels} for s, each in every.splits.items()}


def of_pictures(made: Made) -> Splits:
    data, model = made.settings()
    every = made.code["data"].load_images(data, None, model)
    return {
        split: {each.read(place).numpy().tobytes() for place in range(len(each))}
        for split, each in every.splits.items()
    }


def of_clips(made: Made) -> Splits:
    data, model = made.settings()
    every = made.code["data"].load_clips(data, None, model)
    return {
        split: {each.read(place).numpy().tobytes() for place in range(len(each.lengths))}
        for split, each in every.splits.items()
    }


def of_heads(made: Made) -> Splits:
    data, model = made.settings()
    every = made.code["data"].load_clips(data, None, model)
    return {
        split: {bytes(each.read(place).frames.numpy()) for place in range(len(each.lengths))}
        for split, each in every.splits.items()
    }


def of_rows(made: Made) -> Splits:
    data, model = made.settings()
    code = made.code["data"]
    table = code.load_table(data, code.load_rows(data, None, None), model)
    columns = [
        tensor.flatten(1) if tensor.dim() > 1 else tensor[:, None] for tensor in table.tensors
    ]
    rows = torch.cat([each.double() for each in columns[:-1]], 1).nan_to_num(nan=math.inf)
    return {s: {rows[i].numpy().tobytes() for i in index} for s, index in table.parts.items()}


def of_graphs(made: Made) -> Splits:
    data, model = made.settings()
    every = made.code["data"].load_graphs(data, None, model, "proxy")
    return {split: set(made.code["data"].forms(part)) for split, part in every.parts.items()}


def of_series(made: Made) -> Splits:
    data, model = made.settings()
    every = made.code["data"].load_series(data, None, model)
    return {s: {x.numpy().tobytes() for x in each.series} for s, each in every.splits.items()}


def of_interactions(made: Made) -> Splits:
    code, (data, model) = made.code["data"], made.settings()
    every, _ = code.load_interactions(data, None, model, "proxy")
    return {s: {(every.owner[i], every.item[i]) for i in every.rows(s)} for s in code.SPLITS}


def of_questions(made: Made) -> Splits:
    data, model = made.settings()
    every = made.code["data"].load_questions(data, None, model)
    return {split: {q.name for q in each} for split, each in every.splits.items()}


def of_seeds(made: Made) -> Splits:
    """Return what tells the episodes of each split: the seeds that they begin with."""
    splits = made.code["data"].splits_of(made.settings()[0])
    return {split: {*seeds} for split, seeds in splits.items()}


# How a sample of the bundled data is recognized, for a family of each task and kind of target whose
# samples are single records. Series, masks and glyphs are cut by time, place and shape, and a text
# for generation is one stretch: their tasks' own tests hold those.
SAMPLES: dict[str, Callable[[Made], Splits]] = {
    "text_classifier": of_records("text"),
    "text_regressor": of_numbered_texts,
    "sentence_embedder": of_records("text_a"),
    "vit": of_classes,
    "vlm": of_questions,
    "vit_embedder": of_classes,
    "vit_regressor": of_numbered_images,
    "unet_diffusion": of_pictures,
    "tabular_regressor": of_rows,
    "tabular_classifier": of_rows,
    "video_dit": of_clips,
    "talking_head_dit": of_heads,
    "gat": of_graphs,
    "patch_classifier": of_series,
    "ppo": of_seeds,
    "dqn": of_seeds,
    "sac": of_seeds,
    "mbpo": of_seeds,
    "two_tower": of_interactions,
}


@pytest.mark.parametrize("name", in_turn(SAMPLES, "text_classifier", "vit", "tabular_regressor"))
def test_no_sample_is_in_two_splits(name: str, tmp_path: Path) -> None:
    with making(name, tmp_path) as made:
        splits = SAMPLES[name](made)
    assert splits.keys() == {"train", "val", "test"}
    assert all(splits.values())
    for one, two in itertools.combinations(splits.values(), 2):
        assert not one & two
