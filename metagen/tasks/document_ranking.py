"""Document ranking: the passage that answers a query has the highest score."""

from __future__ import annotations

from typing import Any

from metagen.tasks.task import Benchmark, Dims, Lookup, Section
from metagen.tasks.texts import TextTask

GROUP = 8  # passages of a query: one that answers it and seven that do not


class DocumentRanking(TextTask):
    """From token ids (B, T) of a query and a passage to the score of the pair."""

    name = "document_ranking"
    shared = {}  # A pass reads pairs, so bench.py is its own.
    metrics = ("mrr", "ndcg_at_10")
    switches = (
        ("no queries cut from passages", "data.crop_share", 0.0),
        ("no words left out of queries", "data.word_drop", 0.0),
    )
    # The quick training takes about twenty seconds of one thread; the full one about twenty
    # minutes, to a score above that of BM25.
    benchmark = Benchmark(
        "passages for a sentence",
        {"quick": 200, "full": 14_000},
        seeds=1,
        sheets=("pydoc_sentences",),
    )
    words = {
        "pipeline_tag": "text-ranking",
        "unit": "token",
        "loss_unit": "nat/query",
        "usage": '--prompt "How are names resolved?"',
        "does": "prints the passages that fit a query best",
        "data": "sentences of Python's help topics and docstrings with the rest of their "
        "paragraphs",
        "outcome": "How often a held-out query is answered within so many of the best passages.",
        "risks": "bias towards sources, groups of people and long passages, and hostile passages",
    }
    units_per_sample = GROUP
    texts_per_sample = GROUP
    printed = {"best": 5}
    demonstration = words["usage"]
    proxy = {"vocab_size": 4096, "max_seq_len": 128}
    proxy_batch = 4
    proxy_rate = 2e-3

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        # Each text of the small bundled set asks in many ways: as a part of it, without some words.
        crop, drop = (0.5, 0.2) if reduced else (0.0, 0.0)
        shared = super().data(m, key, reduced=reduced)
        return {**shared, "crop_share": crop, "word_drop": drop}

    def train(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"group_size": GROUP}

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {**super().eval(m, key, reduced=reduced), "candidates": 50 if reduced else 100}

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shapes of one pair's token ids and segments, both (1, length)."""
        return 2 * super().example(m, length)
