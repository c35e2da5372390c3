"""How a language model trains where a spec declares some of it."""

from helpers.llama import LLAMA_3_8B

from metagen.families.decoder import FAMILY as decoder


def test_an_update_is_cut_in_equal_parts_that_fit():
    spec = {"training.config.batch_size": 256, "reproducibility.seed": 1}
    train = decoder.sections(LLAMA_3_8B, spec.get, reduced=False)["train"]
    assert train["batch_size"] % train["grad_accum"] == 0
    assert train["batch_size"] // train["grad_accum"] * 4096 == 2**14


def test_the_declared_data_sets_the_number_of_updates():
    spec = {"training.config.batch_size": 256, "training.data.size": "2T tokens"}
    train = decoder.sections(LLAMA_3_8B, spec.get, reduced=False)["train"]
    assert train["steps"] == round(2e12 / (256 * 4096)) == 1_907_349
    twice = decoder.sections(LLAMA_3_8B, {**spec, "training.config.epochs": 2}.get, reduced=False)
    assert twice["train"]["steps"] == round(4e12 / (256 * 4096))
