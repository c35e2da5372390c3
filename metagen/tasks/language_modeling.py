"""Language modelling.

The full model trains as Llama 2 (arXiv:2307.09288, section 2.2) and Llama 3 (arXiv:2407.21783,
section 3.4), in updates of the size that GPT-3 (arXiv:2005.14165, table 2.1) had at its size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from metagen.tasks import harness
from metagen.tasks.schedule import Growth, Habits
from metagen.tasks.task import Benchmark, Dims, Lookup, Section, Task

Number = TypeVar("Number", int, float)

BYTE_VOCABULARY = 256
TRAINING_LENGTH = 8192  # tokens of a training sequence, at most; Llama 3's pre-training
PROXY_VOCABULARY = 1024  # byte-pair tokens, which read 3 bytes each of the bundled text
PROXY_TABLE_STD = 0.5  # deviation of the first token vectors; blocks have 1 / sqrt(d_model)
PROXY_LENGTH = 64  # tokens of a training sequence of the proxy
PASS_TOKENS = 2**14  # tokens that pass through the model at once, at most
TOKENS_PER_PARAMETER = 20  # compute-optimal (Hoffmann et al., 2022, arXiv:2203.15556)
# Tokens of an update for models of up to so many parameters: GPT-3, table 2.1.
UPDATE_TOKENS = ((1e9, 2**19), (3e9, 2**20), (math.inf, 2**21))
# Tokens to which an update may grow: Llama 3 405B went from 4M to 16M at one peak rate
# (arXiv:2407.21783, section 3.4.1).
MOST_UPDATE_TOKENS = 2**24
# Peak learning rates, likewise: GPT-3's table 2.1 below 1B, Llama 3's table 3 above.
LEARNING_RATES = ((200e6, 6e-4), (10e9, 3e-4), (100e9, 1.5e-4), (math.inf, 8e-5))
DECAY = 0.1
BETA2 = 0.95


class LanguageModeling(Task):
    """From token ids (B, T) to the logits of the token after each."""

    name = "language_modeling"
    metrics = ("bits_per_byte",)
    switches = (("no weight decay", "train.weight_decay", 0.0),)
    # The quick training takes about 25 seconds of one thread, the full one about a minute.
    benchmark = Benchmark(
        "held-out text", {"quick": 800, "full": 2250}, seeds=1, sheets=("pydoc_topics",)
    )
    words = {
        "pipeline_tag": "text-generation",
        "unit": "token",
        "loss_unit": "nat/token",
        "usage": '--prompt "The "',
        "does": "continues a prompt",
        "data": "the bundled text",
        "outcome": "Passages of the test split: how each begins, how it goes on there, and how the "
        "proxy continues its beginning. Ends of lines are shown as spaces.",
        "risks": "bias, toxicity, factuality, memorisation and robustness",
    }
    work_unit = "tok"
    units = ("tokens",)
    input = "text"
    demonstration = words["usage"]
    # 160 sequences of 2,048 tokens, and a rate of 0.0047, at 108M parameters outside the tables.
    growth = Growth(
        size=108e6,
        batch=160 * 2048,
        rate=0.0047,
        batch_power=2 / 3,
        rate_power=-1 / 3,
        source="Porian et al., 2024, arXiv:2406.19146, as OLMo-core's ladder has it",
        cite="porian",
    )
    proxy = {"vocab_size": PROXY_VOCABULARY, "max_seq_len": 2 * PROXY_LENGTH}

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        length = sequence(m)
        batch = max(1, up_to(UPDATE_TOKENS, parameters) // length)
        return Habits(
            batch=batch,
            rate=up_to(LEARNING_RATES, parameters),
            decay=DECAY,
            warmup=2000,
            source="as Llama 2",
            why={
                "batch_size": f"about {batch * length:,} tokens an update, as GPT-3 of this size",
                "learning_rate": "the peak of GPT-3 or Llama 3 at this size",
                "data": f"no token count is declared: {TOKENS_PER_PARAMETER} tokens a parameter",
            },
            units=self.units,
            data=TOKENS_PER_PARAMETER * parameters,
            units_per_sample=length,
            samples_at_once=PASS_TOKENS // length,
            at_once=f"{PASS_TOKENS:,} tokens",
            beta2=BETA2,
            most=max(1, MOST_UPDATE_TOKENS // length),
            growth=f"at most {MOST_UPDATE_TOKENS:,} tokens, as Llama 3 405B",
        )

    def proxy_habits(self, m: Dims) -> Habits:
        # A text that is read several times needs more decay. A rate that falls to 0 beats one that
        # ends at a tenth of its peak (Bergsma et al., 2025, arXiv:2502.15938).
        return Habits(batch=8, rate=1.5e-3, decay=0.5, warmup=25, beta2=BETA2, final_lr_share=0.0)

    def train(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        """Return the rate and the first weights of tables, and of what writes to the stream."""
        if not reduced:
            return {"table_rate": 1.0, "table_scale": 1.0, "write_scale": 1.0}
        # Few updates reach a rare token, so tables learn fast. Their vectors outweigh what blocks
        # add at first, which is nothing.
        scale = PROXY_TABLE_STD * math.sqrt(m["d_model"])
        return {"table_rate": 13.3, "table_scale": round(scale, 2), "write_scale": 0.0}

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        val, test = (0.05, 0.1) if reduced else (0.01, 0.01)
        return {
            "seq_len": sequence(m, PROXY_LENGTH if reduced else TRAINING_LENGTH),
            "tokenizer": "byte" if m["vocab_size"] == BYTE_VOCABULARY else "bpe",
            "val_fraction": val,
            "test_fraction": test,
        }

    def amount(self, data: Section) -> int:
        """Return the tokens of a training sequence."""
        return int(data["seq_len"])

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        length = sequence(m, PROXY_LENGTH if reduced else TRAINING_LENGTH)
        return {
            "batch_size": max(1, PASS_TOKENS // length),
            "stride": max(1, length // 2),
            "baseline_bytes": 16_000_000,
            "dtype": "auto",
        }

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {
            "max_new_tokens": max(1, int(min(200, m["max_seq_len"] // 2))),
            "temperature": 0.8,
            "top_k": 0,
            "top_p": 0.95,
            "seed": key("reproducibility.seed"),
            # The memory of the full model is counted in 16 bits or fewer.
            "dtype": "auto" if reduced else "bfloat16",
            "weight_bits": m.get("weight_bits", 16),
            "cache_bits": m.get("cache_bits", 16),
        }

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shape of one sequence of token ids: (1, length)."""
        return [{"shape": [1, length], "dtype": "int64"}]

    def preparation(self, data: Mapping[str, Any]) -> str:
        command = "python data.py prepare --size full --data PATH --out tokens"
        return command if data["tokenizer"] == "bpe" else ""

    def published(self, benchmarks: Sequence[str]) -> tuple[str, tuple[str, ...]]:
        """Return the command of lm-eval, and the benchmarks for which it has no task."""
        unknown = tuple(name for name in benchmarks if harness.task_of(name) is None)
        return harness.command(benchmarks), unknown

    def more_reasons(self, full: Mapping[str, Any], key: Lookup) -> dict[str, str]:
        why = f"the window, at most {TRAINING_LENGTH:,} as in Llama 3's pre-training"
        return {"data.seq_len": why}


def sequence(m: Dims, most: int = TRAINING_LENGTH) -> int:
    """Return the tokens of a training sequence: the window, up to some length."""
    return int(min(m["max_seq_len"], most))


def up_to(table: tuple[tuple[float, Number], ...], parameters: int) -> Number:
    """Return the value of the first size that the count does not exceed."""
    return next(value for size, value in table if parameters <= size)
