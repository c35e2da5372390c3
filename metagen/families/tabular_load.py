"""Closed forms of the residual MLP over columns: counts, bytes and operations, with arithmetic.

Symbols: N = n_numeric, C = n_categorical, V = n_categories, K = n_frequencies, e = d_embedding,
d = d_model, L = n_layers, f = d_ff, O = n_outputs.
"""

from __future__ import annotations

from metagen.families.family import Dims, Load, Value, Work

HALF = 2  # bytes of a bf16 number


def embedding_count(m: Dims) -> int:
    """Return NK + N(2K + 1)e + Ne + Ve: frequencies, weights and biases, and categories."""
    n, k, e = m["n_numeric"], m["n_frequencies"], m["d_embedding"]
    return int(n * k + n * (2 * k + 1) * e + n * e + m["n_categories"] * e)


def blocks(m: Dims) -> int:
    """Return the weights of the blocks' linear layers: 2Ldf."""
    return int(2 * m["n_layers"] * m["d_model"] * m["d_ff"])


def count(m: Dims) -> int:
    """Return embeddings + ((N + C)e + 1)d + L(2df + 3d + f) + (d + 1)O, the exact count.

    After the embeddings come their mixture, the blocks with their norms and biases, and the head.
    """
    d, columns = m["d_model"], m["n_numeric"] + m["n_categorical"]
    mixture = (columns * m["d_embedding"] + 1) * d
    inner = blocks(m) + m["n_layers"] * (3 * d + m["d_ff"])
    return int(embedding_count(m) + mixture + inner + (d + 1) * m["n_outputs"])


def forward_flops(m: Dims) -> float:
    """Return the operations of a row: 2 for each weight that it meets; of the table, a row each."""
    n, d, e = m["n_numeric"], m["d_model"], m["d_embedding"]
    columns = n + m["n_categorical"]
    embedded = n * (2 * m["n_frequencies"] + 1) * e + columns * e * d
    return float(2 * (embedded + blocks(m) + d * m["n_outputs"]))


def _widest(m: Dims) -> dict[str, int]:
    """Return the numbers held for one row where it is embedded, and inside a block."""
    columns, waves = m["n_numeric"] + m["n_categorical"], 2 * m["n_frequencies"] + 1
    # Waves are made in float32, twice as wide: angles, their sines and cosines, and these in a row.
    embedding = 2 * (m["n_numeric"] * 2 * waves) + columns * m["d_embedding"]
    return {"embedding": int(embedding), "block": int(2 * m["d_model"] + 2 * m["d_ff"])}


def load(m: Dims) -> Load:
    """Return what one row takes."""
    weights, activations = HALF * count(m), HALF * max(_widest(m).values())
    return Load(weights, 0, activations, first=Work(forward_flops(m), float(weights)))


def explained(m: Dims, parameters: int) -> dict[str, str]:
    """Return the arithmetic of weights, cache and activations."""
    widest = _widest(m)
    return {
        "weights": f"{parameters:,} at {8 * HALF} bits",
        "cache": "none: nothing is kept from one row to the next",
        "activations": f"one row in bf16, the larger of embedding {widest['embedding']:,} and "
        f"block {widest['block']:,} numbers",
    }


def figures(m: Dims) -> dict[str, tuple[Value | str, str]]:
    """Return what the documents say of the embeddings."""
    return {"embedding_parameters": (embedding_count(m), "parameters")}
