"""Every family fills budgets from small to large, never exceeds one, and says so truly."""

from __future__ import annotations

import json
import math
import re
from functools import cache
from pathlib import Path

import pytest
from helpers.family_code import published
from helpers.plain_desk import PlainDesk, spec_of
from helpers.turns import in_turn

from metagen import families
from metagen.families import ablations
from metagen.families.demand import Need
from metagen.families.family import Dims, Family
from metagen.sizing import architecture, search
from metagen.sizing.need import FILL
from metagen.sizing.search import Design, Solution

MOST = 10**10
POINTS = 8
# From how many parameters on the dimensions of each family are fine enough to fill a budget: what
# it cannot do without, such as tables of bytes and 224 x 224 pixels, takes a part of so few. Image
# models have ten classes here: a thousand alone are 32,000 weights of the narrowest ResNet.
LEAST = {
    "decoder": 100_000,
    "text_classifier": 10_000,
    "text_regressor": 10_000,
    "sentence_embedder": 10_000,
    "document_ranker": 10_000,
    "vit": 5_000,
    "vit_embedder": 50_000,
    "vit_regressor": 5_000,
    "resnet": 5_000,
    "resnet_regressor": 5_000,
    "segmentation_unet": 100_000,
    "unet_diffusion": 50_000,
    "clip": 25_000,
    "latent_unet": 1_000_000,
    "patch_forecaster": 10_000,
    "autoencoder": 100_000,
    "tabular_regressor": 5_000,
    "tabular_classifier": 5_000,
    "point_diffusion": 50_000,
    "rt_detr": 50_000,
    "musicgen": 300_000,
}


# Families whose dimensions are of different kinds: widths, tables, two towers, levels.
SEARCHED = ("decoder", "vit", "clip", "latent_unet", "tabular_regressor", "gat")


@cache
def searched(name: str, budget: int) -> tuple[Family, Design]:
    """Return a family and its design for that budget."""
    family = families.named(name)
    return family, pinned(
        family, budget, {"num_classes": 10} if "num_classes" in family.dims else {}
    )


def pinned(family: Family, budget: int, fixed: Dims) -> Design:
    """Return the design for a budget, with some dimensions fixed."""
    need = Need(budget, math.ceil(FILL * budget), (), None, fixed, fixed)
    return search.search(family, need, family.fit(published(family), budget))


def least(name: str) -> int:
    """Return the least budget that a family fills; 100 of the smallest models if none is stated."""
    return LEAST.get(name) or 100 * searched(name, 1)[1].parameters


def budgets(name: str) -> list[int]:
    """Return budgets from the least to the most, in even steps of the logarithm."""
    ratio = MOST / least(name)
    return [round(least(name) * ratio ** (n / POINTS)) for n in range(POINTS + 1)]


@pytest.mark.parametrize("name", in_turn(families.FAMILIES, *SEARCHED))
def test_budgets_from_small_to_large_are_filled_and_never_exceeded(name: str) -> None:
    for budget in budgets(name):
        family, design = searched(name, budget)
        assert 0.97 * budget <= design.parameters <= budget, design
        assert design.parameters == family.count(design.dims)
        assert not any(rule.broken(design.everything) for rule in family.rules)


# Dimensions that a spec may fix and that change what a budget is left for.
FIXED: tuple[tuple[str, Dims], ...] = (
    ("vit", {"num_classes": 2, "image_height": 64, "image_width": 96}),
    ("resnet", {"num_classes": 2}),
    ("patch_forecaster", {"lookback": 90, "horizon": 30}),
    ("patch_forecaster", {"lookback": 12, "horizon": 3}),
    ("autoencoder", {"window": 1}),
    ("autoencoder", {"n_channels": 3}),
    ("autoencoder", {"d_latent": 5}),
    ("tabular_regressor", {"n_numeric": 100}),
    ("tabular_classifier", {"n_numeric": 100}),
    ("rt_detr", {"num_queries": 100, "image_height": 96, "image_width": 128}),
)


@pytest.mark.parametrize("budget", [1_000_000, 20_000_000, 1_000_000_000])
@pytest.mark.parametrize(("name", "fixed"), FIXED)
def test_a_budget_is_filled_beside_what_a_user_fixes(name: str, fixed: Dims, budget: int) -> None:
    family = families.named(name)
    design = pinned(family, budget, fixed)
    assert 0.97 * budget <= design.parameters <= budget
    assert design.dims.items() >= fixed.items()
    assert not any(rule.broken(design.everything) for rule in family.rules)


@pytest.mark.parametrize("name", families.FAMILIES)
def test_a_proxy_of_the_smallest_design_keeps_the_rules(name: str) -> None:
    family, design = searched(name, least(name))
    assert not any(rule.broken(family.proxy(design.dims)) for rule in family.rules)
    variants = [
        {**design.dims, **changed} for changed in ablations.variants(family, design.dims).values()
    ]
    assert not [each for each in variants if any(rule.broken(each) for rule in family.rules)]


@pytest.mark.parametrize("name", families.FAMILIES)
def test_a_budget_below_the_form_gets_the_fewest_parameters_and_the_reason_says_so(
    name: str, tmp_path: Path
) -> None:
    result = overrun(name, False, tmp_path)
    size = architecture.decisions(result)[0]
    assert size["value"] == result.family.count(result.design.dims) > 10
    assert "the smallest of" in size["reason"]


# Words for dimensions that fill a budget or keep a share of it.
WITHIN = re.compile(r"within|\bfills\b|multiple|most blocks|at most \d+(\.\d)?% of the budget")


@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("name", families.FAMILIES)
def test_no_reason_claims_to_be_within_a_budget_that_is_overrun(
    name: str, pinned: bool, tmp_path: Path
) -> None:
    result = overrun(name, pinned, tmp_path)
    reasons = {each["name"]: each["reason"] for each in architecture.decisions(result)}
    assert result.design.parameters > result.need.budget
    filling = [a.name for a in result.family.axes(result.need, result.trend) if a.fills]
    assert filling
    smallest = "the smallest value that the other dimensions allow"
    assert all(smallest in reasons.pop(each) for each in filling)
    assert "all of which exceed it" in reasons.pop("parameters")
    assert not [(each, why) for each, why in reasons.items() if WITHIN.search(why)]


def overrun(name: str, pinned: bool, folder: Path) -> Solution:
    """Return the design for a budget that no model has, or none of the shape of a larger one."""
    family, large = searched(name, 3 * 10**8)
    axes = family.axes(Need(3 * 10**8, 1), family.fit(published(family), 3 * 10**8))
    shape = {axis.name: large.dims[axis.name] for axis in axes if axis.grid}
    route = next(each for each in families.ROUTES if each.family == name)
    text = spec_of(route, f", dims: {json.dumps(shape)}" if pinned else "")
    desk = PlainDesk(f"{text}constraints: {{parameter_budget: {{max: 10}}}}\n", folder)
    return search.solution(desk)
