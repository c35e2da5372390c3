"""What the tasks that read whole texts share: labels, embeddings and ranks of texts.

The full model trains by BERT's pre-training (arXiv:1810.04805, section A.2), since training starts
from random weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metagen.tasks.schedule import Habits
from metagen.tasks.task import Dims, Lookup, Section, Task

PASS_TOKENS = 2**14  # tokens that pass through the model at once, at most
DECAY = 0.01


class TextTask(Task):
    """From token ids (B, T), 0 after the end of a text, to what a task makes of each text.

    Attributes:
        units_per_sample: Units of the data that a training sample holds.
        texts_per_sample: Texts of a training sample, each as long as the window at most.
        printed: The setting of how many results `infer.py` prints.
        proxy_batch: Samples of an update of the proxy.
        proxy_rate: Peak learning rate of the proxy.
        proxy_decay: Weight decay of the proxy.
    """

    input = "text"
    shared: Mapping[str, str] = {"bench.py": "texts"}
    units: tuple[str, ...] = ("pairs",)
    units_per_sample = 1
    texts_per_sample = 1
    printed: Mapping[str, int]
    proxy_batch = 32
    proxy_rate = 3e-3
    proxy_decay = DECAY

    def habits(self, m: Dims, parameters: int, key: Lookup) -> Habits:
        return Habits(
            batch=256,
            rate=1e-4,
            decay=DECAY,
            warmup=10_000,
            source="as BERT's pre-training",
            units=self.units,
            units_per_sample=self.units_per_sample,
            steps=1_000_000,
            samples_at_once=PASS_TOKENS // (self.texts_per_sample * int(m["max_seq_len"])),
            at_once=f"{PASS_TOKENS:,} tokens",
        )

    def proxy_habits(self, m: Dims) -> Habits:
        return Habits(self.proxy_batch, self.proxy_rate, self.proxy_decay, warmup=40, beta2=0.98)

    def data(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        val, test = (0.1, 0.2) if reduced else (0.05, 0.1)
        return {"max_len": int(m["max_seq_len"]), "val_fraction": val, "test_fraction": test}

    def eval(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        return {"batch_size": texts_at_once(m)}

    def infer(self, m: Dims, key: Lookup, *, reduced: bool) -> Section:
        dtype = "float32" if reduced else "bfloat16"
        return {"batch_size": texts_at_once(m), **self.printed, "dtype": dtype}

    def example(self, m: Dims, length: int) -> list[dict[str, Any]]:
        """Return the shape of one text's token ids: (1, length)."""
        return [{"shape": [1, length], "dtype": "int64"}]

    def more_reasons(self, full: Mapping[str, Any], key: Lookup) -> dict[str, str]:
        return {"data.max_len": "the window of the model"}


def texts_at_once(m: Dims) -> int:
    """Return how many texts as long as the window pass through the model at once."""
    return max(1, PASS_TOKENS // int(m["max_seq_len"]))
