"""Losses and baselines of the encoder families by independent formulas, and what is learned."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from helpers import processes
from helpers.encoders import modules_of, records, write_jsonl, write_package

from metagen import paths
from metagen.tasks.document_ranking import DocumentRanking
from metagen.tasks.sentence_embedding import SentenceEmbedding


def test_an_update_holds_the_pairs_of_all_its_samples() -> None:
    spec = {"training.data.size": "20M pairs", "training.config.epochs": 2}
    rank, embed = DocumentRanking(), SentenceEmbedding()
    schedules = [
        t.schedule({"max_seq_len": 512}, 0, spec.get, reduced=False) for t in (rank, embed)
    ]
    # A query has a group of 8 pairs, each of 512 tokens; a pair of texts has 2 x 512 tokens.
    assert [s.steps for s in schedules] == [round(4e7 / (256 * 8)), round(4e7 / 256)]
    assert [s.batch // s.parts for s in schedules] == [2**14 // (8 * 512), 2**14 // (2 * 512)]


classifier = modules_of("text_classifier")


embedder = modules_of("sentence_embedder")


class Lookup(torch.nn.Module):
    """Embeds a text by its second token."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(300, 5))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.table[tokens[:, 1]]


def test_the_contrast_is_infonce_without_texts_of_one_meaning(
    embedder: dict[str, ModuleType],
) -> None:
    torch.manual_seed(0)
    module, config = Lookup(), embedder["train"].Config()
    tokens = torch.randint(3, 300, (6, 2, 4))
    marks = torch.tensor([[0, 1, 10], [0, 2, 20], [0, 1, 30], [1, 4, 40], [1, 5, 50], [1, 6, 40]])
    loss, count = embedder["train"].contrastive_loss(module, (tokens, marks), config)
    a, b = (F.normalize(module(tokens[:, side]), dim=1) for side in (0, 1))
    others = {0: [1], 1: [0, 2], 2: [1], 3: [4], 4: [3, 5], 5: [4]}
    terms = []
    for x, y in ((a, b), (b, a)):
        for i, chosen in others.items():
            scores = [
                math.exp(float(x[i].detach() @ y[j].detach()) / config.temperature)
                for j in (i, *chosen)
            ]
            terms.append(-math.log(scores[0] / sum(scores)))
    assert count == 6
    assert loss.item() == pytest.approx(sum(terms) / 12, rel=1e-5)


@pytest.mark.parametrize(("batch", "parts", "processes"), [(12, 3, 2), (12, 4, 3)])
def test_parts_that_processes_would_mix_are_refused(
    embedder: dict[str, ModuleType], batch: int, parts: int, processes: int
) -> None:
    config = embedder["train"].Config(batch_size=batch, grad_accum=parts)
    share, part = batch // processes, batch // parts
    if part % share and share % part:
        with pytest.raises(SystemExit):
            embedder["train"].part_size(config, processes)
    else:
        assert embedder["train"].part_size(config, processes) == part


def test_ranks_are_those_of_the_nearest_partner_of_each_pool(
    embedder: dict[str, ModuleType],
) -> None:
    pair = embedder["data"].Pair
    pairs = [
        pair(("a", "x"), (0, 0), ""),
        pair(("b", "y"), (1, 1), ""),
        pair(("c", "z"), (2, 2), "2"),
    ]
    index = {text: number for number, text in enumerate("abcxyz")}
    near = torch.zeros(6, 6)
    near[0, 4], near[0, 3], near[1, 4] = 0.9, 0.5, 0.8
    near[3, 0], near[4, 0], near[4, 1] = 0.7, 0.6, 0.5
    ranks = embedder["eval"].first_ranks(lambda a, b: near[a[:, None], b], pairs, index)
    assert sorted(ranks.tolist()) == [1, 1, 1, 1, 2, 2]


def test_examples_are_the_nearest_texts_of_the_pool(embedder: dict[str, ModuleType]) -> None:
    Pair = embedder["data"].Pair
    pairs = [Pair(("a", "x"), (0, 0), "p"), Pair(("b", "y"), (1, 1), "p")]
    pairs += [Pair(("c", "z"), (2, 2), "q"), Pair(("a", "w"), (0, 0), "p")]
    texts = sorted({text for pair in pairs for text in pair.texts})
    index = {text: number for number, text in enumerate(texts)}
    angles = {"a": 0, "b": 50, "c": 0, "w": 30, "x": 20, "y": 10, "z": 0}
    turns = torch.tensor([math.radians(angles[text]) for text in texts])
    vectors = torch.stack([turns.cos(), turns.sin()], dim=-1)
    rows = embedder["eval"].examples(vectors, texts, pairs, index)["rows"]
    assert [row["query"] for row in rows] == ["a", "b", "c"]
    assert [row["first_right"] for row in rows] == [2, 3, 1]
    first = [(each["text"], each["right"]) for each in rows[0]["answers"]]
    assert first == [("y", False), ("x", True), ("w", True)]


def test_tf_idf_is_the_cosine_of_its_formula(embedder: dict[str, ModuleType]) -> None:
    made = embedder["eval"].TfIdf(["ab", "ac"])
    vectors = []
    for text in ("ab", "bc"):
        line = f" {text} "
        grams = [line[i : i + n] for n in (1, 2, 3) for i in range(len(line) - n + 1)]
        vectors.append(
            {g: grams.count(g) * (1 + math.log(3 / (1 + made.texts_with[g]))) for g in set(grams)}
        )
    dot = sum(w * vectors[1].get(g, 0) for g, w in vectors[0].items())
    norms = [math.sqrt(sum(w * w for w in v.values())) for v in vectors]
    cosines = made.similarities(["ab", "bc"])
    assert float(cosines[0, 1]) == pytest.approx(dot / norms[0] / norms[1], rel=1e-5)
    assert cosines.diag().tolist() == pytest.approx([1, 1])


def test_naive_bayes_is_its_formula(classifier: dict[str, ModuleType]) -> None:
    samples = [("aab", 0), ("bbb", 1), ("b", 1)]
    made = classifier["eval"].NaiveBayes(1, samples, 2)
    # Characters of the training texts: a, b and the space at both ends.
    counts = {0: {"a": 2, "b": 1, " ": 2}, 1: {"b": 4, " ": 4}}
    for text in ("a", "b", "ab"):
        scores = []
        for label, prior in ((0, 1 / 3), (1, 2 / 3)):
            total = sum(counts[label].values()) + 3
            terms = [(counts[label].get(c, 0) + 1) / total for c in f" {text} "]
            scores.append(math.log(prior) + sum(map(math.log, terms)))
        assert made.predict([text])[0] == scores.index(max(scores))


ranker = modules_of("document_ranker")


def test_bm25_is_its_formula(ranker: dict[str, ModuleType]) -> None:
    passages = ["red blue", "red red green old", "blue"]
    made = ranker["eval"].BM25(passages)
    scores = made.scores("Red old", passages)
    idf = {"red": math.log(1 + 1.5 / 2.5), "old": math.log(1 + 2.5 / 1.5)}

    def term(count: int, length: int) -> float:
        return count / (count + 1.2 * (0.25 + 0.75 * length / (7 / 3)))

    expected = [
        idf["red"] * term(1, 2),
        idf["red"] * term(2, 4) + idf["old"] * term(1, 4),
        0.0,
    ]
    assert scores == pytest.approx(expected)


def test_orders_are_scored_by_their_formulas(ranker: dict[str, ModuleType]) -> None:
    rankings = [[0.0, 2.0, 1.0], [1.0, 0.0]]
    assert [ranker["eval"].reciprocal_rank(each) for each in rankings] == [1 / 2, 1]
    gained = 3 / math.log2(3) + 1 / math.log2(4)
    best = 3 / math.log2(2) + 1 / math.log2(3)
    shares = [ranker["eval"].ndcg_at_10(each) for each in rankings]
    assert shares == pytest.approx([gained / best, 1])


def test_examples_are_spread_over_the_queries_and_show_their_first_passages(
    ranker: dict[str, ModuleType],
) -> None:
    Judged, module = ranker["data"].Judged, ranker["eval"]
    passages = ["p0", "p1 " + 300 * "w", "p2", "p3"]
    queries = [(Judged(f"q{n}", {passages[n % 4]: 1.0}), passages) for n in range(10)]
    orders = module.ordered(queries, lambda query, each: [float(len(text)) for text in each])
    rows = module.examples(queries, orders)["rows"]
    assert [row["query"] for row in rows] == ["q0", "q3", "q6"]
    assert [row["first_right"] for row in rows] == [2, 4, 3]
    assert [each["right"] for each in rows[2]["answers"]] == [False, False, True]
    longest = rows[0]["answers"][0]["text"]
    assert longest.startswith("p1 www")
    assert longest.endswith("w …")
    assert len(longest) < 250


def test_a_group_is_an_answer_and_passages_that_are_none(ranker: dict[str, ModuleType]) -> None:
    data = ranker["data"]
    judged = data.Judged("q", {"yes": 2.0, "also": 1.0, "no": 0.0})
    for seed in range(20):
        first, *others = data.group(judged, ["yes", "also", "p", "r"], 3, random.Random(seed))
        assert first in ("yes", "also")
        assert len(others) == 2
        assert "no" in others
        assert not {"yes", "also"} & set(others)
    small = data.group(judged, ["yes", "also", "no"], 4, random.Random(0))
    assert small[1:] == ["no"] * 3
    with pytest.raises(SystemExit):
        data.group(data.Judged("q", {"yes": 1.0}), ["yes"], 3, random.Random(0))


# Several processes


def trained(folder: Path, data: Path, out: Path, count: int, *options: object) -> list[float]:
    """Train in some processes as torchrun would; return the losses and the gradients' norms."""
    line = ("train.py", "--data", data, "--out", out, "--threads", 1, *options)
    processes.finish(processes.start(folder, *line, count=count))
    rows = [json.loads(line) for line in (out / "metrics.jsonl").open()]
    return [row[name] for row in rows for name in ("train_loss", "grad_norm")]


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("parts", [1, 2])
def test_two_processes_tell_pairs_apart_as_one_does(tmp_path: Path, parts: int) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    write_package(folder, "sentence_embedder")
    data = write_jsonl(tmp_path / "mine.jsonl", records("sentence_embedder"))
    options = ("--batch-size", 8, "--grad-accum", parts, "--steps", 4)
    one = trained(folder, data, tmp_path / "one", 1, *options)
    two = trained(folder, data, tmp_path / "two", 2, *options)
    assert two == pytest.approx(one, rel=1e-5)
    other = trained(folder, data, tmp_path / "other", 1, *options[:2], "--steps", 4)
    assert (parts == 1) == (other == pytest.approx(one, rel=1e-5))


# The proxies


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "beaten"),
    [
        pytest.param(
            "text_classifier_bert",
            {"majority", "naive Bayes, characters"},
            marks=pytest.mark.ci,
        ),
        ("sentence_embedder", {"length match", "TF-IDF, characters"}),
        ("document_ranker", {"chance"}),
    ],
)
def test_a_proxy_beats_its_baselines(name: str, beaten: set[str], tmp_path: Path) -> None:
    spec = paths.specs() / "text" / f"{name}.yaml"
    metagen = Path(sys.executable).with_name("metagen")
    line = [str(part) for part in (metagen, "synth", spec, "--out", tmp_path)]
    subprocess.run(line, check=True, capture_output=True)
    rows = json.loads((tmp_path / f"run-{name}" / "benchmarks" / "results.json").read_text())
    measured = [row for row in rows if row["status"] == "measured"]
    assert len(measured) >= 2
    for row in measured:
        assert beaten <= row["baselines"].keys()
        assert all(row["value"] > row["baselines"][each] for each in beaten), row
