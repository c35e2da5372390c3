"""Tensors of our video Transformers by their names in diffusers' Wan."""

from __future__ import annotations

import torch

NAMES = {
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_proj": "condition_embedder.time_proj",
    "layers.": "blocks.",
    "attention.q_proj": "attn1.to_q",
    "attention.k_proj": "attn1.to_k",
    "attention.v_proj": "attn1.to_v",
    "attention.o_proj": "attn1.to_out.0",
    "attention.q_norm": "attn1.norm_q",
    "attention.k_norm": "attn1.norm_k",
    "read.audio_k_proj": "attn2.add_k_proj",
    "read.audio_v_proj": "attn2.add_v_proj",
    "read.audio_k_norm": "attn2.norm_added_k",
    "read.q_proj": "attn2.to_q",
    "read.k_proj": "attn2.to_k",
    "read.v_proj": "attn2.to_v",
    "read.o_proj": "attn2.to_out.0",
    "read.q_norm": "attn2.norm_q",
    "read.k_norm": "attn2.norm_k",
    "read_norm": "norm2",
    "text_in.0": "condition_embedder.text_embedder.linear_1",
    "text_in.2": "condition_embedder.text_embedder.linear_2",
    "mlp.fc1": "ffn.net.0.proj",
    "mlp.fc2": "ffn.net.2",
    "table_out": "scale_shift_table",
    ".table": ".scale_shift_table",
}


def their_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return our tensors by their names in diffusers."""
    found = {}
    for name, tensor in state.items():
        theirs = name
        for old, new in NAMES.items():
            theirs = theirs.replace(old, new)
        found[theirs] = tensor[None] if name.endswith(("table", "table_out")) else tensor
    return found
