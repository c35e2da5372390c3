"""The decoder's closed forms against published figures."""

import ast
import re

import pytest
from helpers.llama import LLAMA_2_7B, LLAMA_3_2_1B, LLAMA_3_8B, SMOLLM2_135M, llama

from metagen import paths
from metagen.families import transformer
from metagen.families.decoder import FAMILY as decoder
from metagen.families.decoder import GATED, PROMPT
from metagen.families.trend import rows

PUBLISHED = paths.source("families/decoder.csv").read_bytes()


@pytest.mark.parametrize(
    ("dims", "published"),
    [
        (LLAMA_2_7B, 6_738_415_616),
        (LLAMA_3_8B, 8_030_261_248),
        (LLAMA_3_2_1B, 1_235_814_400),
        (SMOLLM2_135M, 134_515_008),
    ],
)
def test_the_closed_form_gives_the_published_count(dims, published):
    assert decoder.count(dims) == published


def test_the_closed_form_gives_every_count_of_the_table_in_the_llama_form():
    table = [r for r in rows(PUBLISHED) if r["arch"] in ("llama", "mistral")]
    assert len(table) >= 5
    for row in table:
        names = ("d_model", "n_layers", "n_heads", "n_kv_heads", "head_dim", "ffn", "vocab")
        dims = llama(*(int(row[n]) for n in names), row["tied_embeddings"] == "1")
        assert decoder.count(dims) == int(row["params_exact"]), row["model"]


@pytest.mark.parametrize(
    ("dims", "bytes_per_token"),
    [
        (LLAMA_2_7B, 524_288),  # 2 * 32 layers * 32 heads * 128 * 2 bytes
        (LLAMA_3_8B, 131_072),  # 8 key/value heads: a quarter
        (LLAMA_3_2_1B, 32_768),
        (SMOLLM2_135M, 23_040),
    ],
)
def test_the_cache_takes_the_published_bytes_a_token(dims, bytes_per_token):
    assert transformer.cache_bytes(dims, 1) == bytes_per_token
    assert transformer.cache_bytes(dims, 262_144) == 262_144 * bytes_per_token


def test_the_rotary_base_of_llama_2_and_3_follows_from_their_windows():
    assert transformer.rope_base({**LLAMA_2_7B, "max_seq_len": 4096}) == 1e4
    assert transformer.rope_base({**LLAMA_3_8B, "max_seq_len": 8192}) == 5e5


def test_a_trend_is_fitted_on_every_published_decoder():
    table = rows(PUBLISHED)
    lines = decoder.fit(PUBLISHED, 10**9).lines
    assert {name: line.points for name, line in lines.items()} == {
        **dict.fromkeys(("n_layers", "d_model", "head_dim"), len(table)),
        **dict.fromkeys(("expansion", "group"), sum(r["arch"] in GATED for r in table)),
    }


def test_a_prompt_passes_in_the_length_that_activations_are_counted_at():
    text = paths.source(decoder.task.source("infer.py")).read_text()
    assert f"\nCHUNK = {PROMPT} " in text


def test_processes_share_the_dimensions_that_the_verdict_divides():
    source = (paths.templates() / "runtime" / "shares.py").read_text()
    (divided,) = re.findall(r"^DIVIDED = (\(.*\))", source, re.M)
    assert ast.literal_eval(divided) == decoder.divided
