"""Read queries and passages, bundled or your own, and cut them into train, val and test splits.

    python data.py --data PATH                          shows what training will read
    python data.py prepare --data PATH --out passages   saves the splits and a tokenizer, once

PATH is a .csv, .tsv, .json, .jsonl, .parquet or .arrow file with the columns `query`, `passage` and
`relevance` (a number; 0 for a passage that does not answer the query), or a folder with such files
for each split, also in the names of the Hugging Face Hub; a missing split is cut from train.
`prepare` takes columns of other names. If the folder has no tokenizer.json, training makes a
tokenizer from the train split, as `prepare` does.
"""

import argparse
import math
import random
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from model import Config as ModelConfig
from runtime.errors import fail, run
from runtime.order import samples_at
from runtime.preparation import preparing
from runtime.pydocs import docstring_paragraphs, topic_paragraphs
from runtime.records import Names, Record, cut, read_splits, records_digest, report
from runtime.sequences import TextTokenizer, find_tokenizer, prepare_records
from runtime.splits import require_samples

BUNDLED = "pydoc_sentences"
COLUMNS = ("query", "passage", "relevance")
TRUTH = {"true": "1", "false": "0"}
# A larger share of passages that keep their query's words lets the model win by matching words;
# a smaller one never shows it that matching words are a good sign.
KEPT = 0.3
# A crop of fewer words fits many passages; one of more is easy to match, and is no longer a query.
SHORTEST_CROP, LONGEST_CROP = 4, 24  # words


@dataclass(frozen=True)
class Config:
    """How texts become samples."""

    max_len: int = 512
    """Tokens of query and passage together; if there are more, the longer text is cut."""
    val_fraction: float = 0.05
    """Share of a file's queries for validation during training."""
    test_fraction: float = 0.1
    """Share of a file's queries that only eval.py reads."""
    crop_share: float = 0.0
    """Share of training samples whose query is a crop of the passage that answers it."""
    word_drop: float = 0.0
    """Share of a query's words that training deletes."""


@dataclass(frozen=True)
class Judged:
    """A query with the relevance of passages: above 0 for those that answer it."""

    query: str
    passages: Mapping[str, float]

    def relevant(self) -> list[str]:
        """Return the passages that answer the query."""
        return [passage for passage, value in self.passages.items() if value > 0]


@dataclass(frozen=True)
class Dataset:
    """Judged queries in three splits.

    Attributes:
        name: Name in reports.
        sha256: Digest of all records and their splits.
        splits: Queries with at least one answer, by split.
        pools: The passages of each split, each once.
        tokenizer: Turns texts into rows of tokens.
    """

    name: str
    sha256: str
    splits: dict[str, list[Judged]]
    pools: dict[str, list[str]]
    tokenizer: TextTokenizer


def load_dataset(
    config: Config,
    path: Path | None,
    model: ModelConfig,
    checkpoint: Path | None = None,
    names: Names | None = None,
) -> Dataset:
    """Return the queries of a path, or the bundled ones, or stop if they do not fit the model.

    Args:
        config: Sizes of the splits, and how samples vary.
        path: The data; None for the bundled set.
        model: Limits the vocabulary.
        checkpoint: The folder with the tokenizer of a trained model.
        names: The columns that the data has under other names.
    """
    name = path.name if path else BUNDLED
    records = load_records(config, path, names)
    # Splits are cut by query, so no query of the test split was trained on.
    splits = {split: judgements(each, name) for split, each in records.items()}
    texts = [record[c] for record in records["train"] for c in ("query", "passage")]
    # A tokenizer that learned from all splits would have entries for words of the test split. A
    # trained model must keep its own tokenizer: other ids would select other embeddings.
    tokenizer = find_tokenizer(checkpoint, path, dict.fromkeys(texts), model.vocab_size)
    # Each split has its own pool, so training never sees a test passage, not even as a wrong
    # answer.
    pools = {
        split: list(dict.fromkeys(passage for judged in each for passage in judged.passages))
        for split, each in splits.items()
    }
    sizes = {split: len(pool) for split, pool in pools.items()}
    # A ranking compares at least two passages: one that answers, and one that does not.
    require_samples(name, "passages of queries that have an answer", sizes, least=2)
    return Dataset(name, records_digest(records), splits, pools, tokenizer)


def load_records(
    config: Config, path: Path | None, names: Names | None = None
) -> dict[str, list[Record]]:
    """Return the records of each split; without a path, those of the bundled set."""
    if path is not None:
        shares = config.val_fraction, config.test_fraction
        return read_splits(path, COLUMNS, "query", *shares, names)
    # The help topics are cut by paragraph: two sentences of one paragraph in two splits would let
    # training see half of a test passage.
    splits = cut(paragraphs(topic_paragraphs()), "first", config.val_fraction, config.test_fraction)
    held_out = [*splits["val"], *splits["test"]]
    # Docstrings quote the help topics, so paragraphs with a sentence of val or test are removed.
    splits["train"] += paragraphs(docstring_paragraphs())
    splits["train"] = _unknown(splits["train"], held_out)
    return {
        split: [
            {"query": query, "passage": passage, "relevance": "1"}
            for each in chosen
            # Training uses every sentence as a query for more samples; val and test use the first
            # sentence alone, so that no passage is scored twice.
            for query, passage in sentence_pairs(each["all"].split("\n"), every=split == "train")
        ]
        for split, chosen in splits.items()
    }


def paragraphs(texts: Iterable[Sequence[str]]) -> list[Record]:
    """Return paragraphs as records: their first sentence, and all of their sentences."""
    return [{"first": each[0], "all": "\n".join(each)} for each in texts]


def _unknown(records: Iterable[Record], held_out: Iterable[Record]) -> list[Record]:
    """Return the paragraphs that share no sentence with a held-out paragraph."""
    known = {sentence for record in held_out for sentence in record["all"].split("\n")}
    return [record for record in records if known.isdisjoint(record["all"].split("\n"))]


def sentence_pairs(sentences: list[str], *, every: bool) -> Iterator[tuple[str, str]]:
    """Yield the first sentence of a paragraph, or every one, with the rest of it.

    Inverse cloze task (Lee et al., 2019, arXiv:1906.00300). With `every`, a share KEPT of the
    passages keep the query's sentence: the model learns first that equal words are a hint.
    """
    for place, sentence in enumerate(sentences if every else sentences[:1]):
        # A checksum of the sentence decides, so that each run prepares the same data on every
        # machine.
        kept = every and zlib.crc32(sentence.encode()) % 10 < 10 * KEPT
        rest = sentences if kept else sentences[:place] + sentences[place + 1 :]
        yield sentence, " ".join(rest)


def judgements(records: Sequence[Record], name: str) -> list[Judged]:
    """Return the queries that some passage answers, or stop if a relevance is not a number."""
    judged: dict[str, dict[str, float]] = {}
    for record in records:
        try:
            value = float(TRUTH.get(record["relevance"].lower(), record["relevance"]))
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf:
            fail(f"{name}: relevance {record['relevance']!r} is not a number of at least 0.")
        # The last row wins if a file lists the same query and passage twice.
        judged.setdefault(record["query"], {})[record["passage"]] = value
    # A query without an answer can neither train nor be scored.
    return [Judged(q, passages) for q, passages in judged.items() if any(passages.values())]


def group(judged: Judged, pool: Sequence[str], size: int, draw: random.Random) -> list[str]:
    """Return a passage that answers the query, and others that do not.

    Passages with relevance 0 for this query come first, because they look most like an answer; the
    rest is drawn from the pool.
    """
    # The loss picks the answer out of the group, so exactly one passage of it may be an answer.
    answers = judged.relevant()
    others = [passage for passage in judged.passages if passage not in answers]
    others = draw.sample(others, min(size - 1, len(others)))
    # The draw is large enough to leave `size` passages after this query's own ones are removed.
    drawn = draw.sample(pool, min(len(pool), size + len(answers) + len(others)))
    known = {*answers, *others}
    others = [*others, *(passage for passage in drawn if passage not in known)][: size - 1]
    if not others:
        fail(f"every passage answers the query {judged.query!r}: training needs some that do not.")
    # A pool that is too small repeats passages, so that all groups of a batch have one size.
    repeated = draw.choices(others, k=size - 1 - len(others))
    # The answer stands first; the loss takes the index 0 as its target.
    return [draw.choice(answers), *others, *repeated]


def cropped(passage: str, draw: random.Random) -> tuple[str, str]:
    """Return a run of a passage's words as a query, and the passage, mostly without that run.

    Random crops (Izacard et al., 2022, arXiv:2112.09118) take the place of the sentences of the
    inverse cloze task. A passage that is too short to crop is returned twice.
    """
    words = passage.split()
    # A crop of more than half of the passage would leave too little to match it with.
    longest = min(LONGEST_CROP, len(words) // 2)
    if longest < SHORTEST_CROP:
        return passage, passage
    size = draw.randint(SHORTEST_CROP, longest)
    start = draw.randrange(len(words) - size + 1)
    rest = words if draw.random() < KEPT else words[:start] + words[start + size :]
    return " ".join(words[start : start + size]), " ".join(rest)


def without_some(query: str, share: float, draw: random.Random) -> str:
    """Return a query without a share of its words, or the whole query if no word would be left.

    Random deletion (Izacard et al., 2022) keeps the model from relying on a single word.
    """
    return " ".join(word for word in query.split() if draw.random() >= share) or query


def rows(
    groups: Sequence[tuple[str, Sequence[str]]], tokenizer: TextTokenizer, max_len: int
) -> tuple[Tensor, Tensor]:
    """Return tokens and segments, (B, G, T) each, of queries with G passages each."""
    pairs = [(query, passage) for query, passages in groups for passage in passages]
    # All pairs of the batch are padded to one length, so the groups fit into one tensor.
    tokens, segments = tokenizer.rows(pairs, max_len)
    shape = (len(groups), -1, tokens.size(1))
    return tokens.view(shape), segments.view(shape)  # (B, G, T) each


def batch_at(
    data: Dataset, position: int, count: int, size: int, config: Config, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the samples at some positions of the training order, as `rows` does.

    A sample is a query with a group of passages, the first of which answers it. The position alone
    decides what is drawn, so a resumed run draws the same.
    """
    # The random numbers of a sample come from the seed and its position, not from a generator that
    # all samples share: a resumed run could not restore the state of that one.
    train, pool = data.splits["train"], data.pools["train"]
    order = samples_at(position, count, len(train), seed)
    chosen = []
    for place, (_, index) in enumerate(order, start=position):
        draw = random.Random(f"{seed} {place}")
        query, passages = train[index].query, group(train[index], pool, size, draw)
        # Crops replace real queries rather than join them, so the length of an epoch does not
        # change.
        if draw.random() < config.crop_share:
            query, passages[0] = cropped(passages[0], draw)
        chosen.append((without_some(query, config.word_drop, draw), passages))
    return rows(chosen, data.tokenizer, config.max_len)


def batches(
    data: Dataset, split: str, size: int, max_len: int, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the queries of a split in batches, with the same groups of passages each time."""
    every, pool = data.splits[split], data.pools[split]
    for start in range(0, len(every), batch_size):
        # Seeded by the place, not by training's seed: all runs are validated on the same groups.
        draw = random.Random(start)
        chosen = every[start : start + batch_size]
        groups = [(judged.query, group(judged, pool, size, draw)) for judged in chosen]
        yield rows(groups, data.tokenizer, max_len)


def prepare(args: argparse.Namespace, config: Config, model: ModelConfig) -> None:
    """Write the splits and a tokenizer to a folder that train.py then reads."""
    records = load_records(config, args.data, args.names)
    texts = dict.fromkeys(record[c] for record in records["train"] for c in ("query", "passage"))
    prepare_records(args.out, records, texts, model.vocab_size)


def show(args: argparse.Namespace, config: Config, model: ModelConfig) -> None:
    """Print the splits of a data set."""
    data = load_dataset(config, args.data, model, names=args.names)
    print(f"{data.name}, sha256 {data.sha256}")
    for line in report(args.data):
        print(line)
    for split, every in data.splits.items():
        print(f"{split:>5}: {len(every):,} queries, {len(data.pools[split]):,} passages")


main = preparing(
    __doc__,
    (Config, ModelConfig),
    show,
    prepare,
    data="queries (default: bundled set)",
    out="passages",
    columns=COLUMNS,
)

if __name__ == "__main__":
    run(main)
