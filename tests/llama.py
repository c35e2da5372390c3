"""The dimensions of published Llama models, whose figures are known."""

from __future__ import annotations


def llama(
    d: int, n_layers: int, h: int, k: int, s: int, f: int, vocab: int, tied: bool
) -> dict[str, int | float | bool]:
    """Return the dimensions of a decoder in the form of Llama."""
    return {
        "d_model": d, "n_layers": n_layers, "n_heads": h, "n_kv_heads": k, "head_dim": s,
        "d_ff": f, "vocab_size": vocab, "max_seq_len": 4096, "rope_theta": 1e4,
        "norm_eps": 1e-5, "tie_embeddings": tied,
    }  # fmt: skip


LLAMA_2_7B = llama(4096, 32, 32, 32, 128, 11008, 32000, False)
LLAMA_3_8B = llama(4096, 32, 32, 8, 128, 14336, 128256, False)
LLAMA_3_2_1B = llama(2048, 16, 32, 8, 64, 8192, 128256, True)
SMOLLM2_135M = llama(576, 30, 9, 3, 64, 1536, 49152, True)
