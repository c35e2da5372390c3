"""Amounts of training data: what people write is taken, or gets the nearest amount."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen import amounts, families
from metagen.units import UnitError

TAKEN = [
    ("2T tokens", (2e12, "tokens"), "2T tokens"),
    ("1 image", (1.0, "images"), "1 images"),
    ("1.2m Images", (1.2e6, "images"), "1.2M images"),
    ("2Mtokens", (2e6, "tokens"), "2M tokens"),
    ("300GB", (3e11, "bytes"), "300 GB"),
    ("300 GB of text", (3e11, "bytes"), "300 GB of text"),
    ("400K characters", (4e5, "characters"), "400k characters"),
    ("5k mesh", (5e3, "meshes"), "5k meshes"),
    ("300k entry", (3e5, "entries"), "300k entries"),
    ("500K query-document pairs", (5e5, "pairs"), "500k query-document pairs"),
    ("1M sentence pair", (1e6, "pairs"), "1M sentence pairs"),
    ("1.28M samples", (1.28e6, "samples"), "1.28M samples"),
    ("2 million labelled images", (2e6, "images"), "2M labelled images"),
    ("2M 256x256 images", (2e6, "images"), "2M 256x256 images"),
    ("1M images with captions", (1e6, "images"), "1M images with captions"),
    ("120B tokens of code", (1.2e11, "tokens"), "120B tokens of code"),
    ("300 hours audio", (300.0, "hours"), "300 hours audio"),
]
NEAREST = {
    "2T tokns": "2T tokens",
    "1M pairz": "1M pairs",
    "1M sentence pears": "1M sentence pairs",
    "1,281,167 images": "1281167 images",
    "~1M images": "1M images",
    "1M+ images": "1M images",
    "3 bn tokens": "3B tokens",
    "5Mio images": "5M images",
    "10 lakh rows": "1M rows",
}
REFUSED = (
    *("2T", "0 tokens", "tokens", "many tokens", "2Q tokens", "100B", "", "1M", "1e6 samples"),
    *("10-20M images", "10 million million images", "1M images and captions"),
    *("10 clicks per day", "1M \\input{x} images", f"1 {'a ' * 99}images", "1" * 99),
)


@pytest.mark.parametrize(("text", "amount", "spelled"), TAKEN)
def test_an_amount_of_data_says_what_is_counted(
    text: str, amount: tuple[float, str], spelled: str
) -> None:
    assert amounts.parse_amount(text) == amount
    assert amounts.spell_amount(text) == spelled
    assert amounts.parse_amount(spelled) == amount
    assert amounts.spell_amount(spelled) == spelled


@pytest.mark.parametrize(("text", "nearest"), NEAREST.items())
def test_a_text_near_an_amount_is_refused_with_it(text: str, nearest: str) -> None:
    with pytest.raises(UnitError) as caught:
        amounts.parse_amount(text)
    assert caught.value.nearest == nearest


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_amount_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(UnitError) as caught:
        amounts.parse_amount(text)
    assert "such as 2T tokens" in caught.value.allowed
    assert not caught.value.nearest or amounts.parse_amount(caught.value.nearest)


def test_an_unknown_thing_is_refused_with_those_that_are_counted() -> None:
    with pytest.raises(UnitError, match=r"counted in samples, .*tokens.*pairs"):
        amounts.parse_amount("12 widgetry")


@pytest.mark.parametrize("form", ["{0}", "large {0}", "{0} of a kind"])
def test_every_thing_is_counted_alone_and_described(form: str) -> None:
    for scale, thing in itertools.product(("", "k", " million"), amounts.THINGS):
        assert amounts.parse_amount(f"1.5{scale} {form.format(thing)}")[1] == thing


@pytest.mark.parametrize("name", families.FAMILIES)
def test_every_family_counts_its_data_in_known_things(name: str) -> None:
    assert set(families.named(name).task.units) <= set(amounts.THINGS)


WORDS = st.sampled_from(
    [*amounts.THINGS, "k", "M", "million", "bn", "of", "GB", "1,281", "2.5", "~"]
)


def nearest(text: str) -> str:
    """Return an amount in its one spelling, or what is suggested for it; "" where nothing is."""
    try:
        return amounts.spell_amount(text)
    except UnitError as error:
        return error.nearest


@given(st.text(max_size=40) | st.lists(WORDS, max_size=6).map(" ".join))
def test_what_is_made_of_any_text_is_an_amount_in_its_one_spelling(text: str) -> None:
    if found := nearest(text):
        assert amounts.parse_amount(found)[0] > 0
        assert amounts.spell_amount(found) == found
