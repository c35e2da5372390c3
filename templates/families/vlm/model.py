"""A vision-language model: an image tower, a projection and a decoder of text.

The form is that of PaliGemma (Beyer et al., 2024, arXiv:2407.07726) with the parts of SmolVLM
(Marafioti et al., 2025, arXiv:2504.05299): SigLIP's image tower (arXiv:2303.15343), pixel shuffle
before a linear projection, and a decoder in the Llama form. The vectors of the image come first,
then the prompt, then the answer. Image and prompt are a prefix whose positions all see each other;
a position of the answer sees the prefix and what lies before it.

Shapes in comments: B questions, C channels, N patches, M vectors of an image, P tokens of a prompt,
T tokens of a text, V vocabulary entries, S = M + T positions.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layers.attention import Attention
from layers.cache import KVCache
from layers.mlp import SwiGLU
from layers.norm import RMSNorm
from layers.rope import RotaryTable, rotary_table
from layers.tower import TowerBlock


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    num_channels: int = 3  # channels of an image: 1 for grey, 3 for colours
    image_size: int = 224  # pixels of a side; a multiple of patch_size
    patch_size: int = 14  # pixels of a patch's side
    vision_d_model: int = 1152  # width of the image tower
    vision_n_layers: int = 27  # its blocks
    vision_n_heads: int = 16  # its attention heads in each block; they divide its width
    vision_d_ff: int = 4304  # width of its feed-forward layers
    pixel_shuffle: int = 1  # patches of a square's side that the projection joins; 1 joins none
    projector_bias: bool = True  # whether the projection adds a bias
    d_model: int = 2048  # width of the decoder
    n_layers: int = 18  # its blocks
    n_heads: int = 16  # its query heads in each block
    n_kv_heads: int = 16  # its key and value heads in each block; they divide n_heads
    head_dim: int = 128  # dimensions of a head; even
    d_ff: int = 16384  # width of its feed-forward layers
    vocab_size: int = 49152  # entries of the vocabulary
    max_seq_len: int = 1024  # longest sequence: vectors of an image, and tokens
    rope_theta: float = 10000.0  # base of RoPE's wavelengths
    norm_eps: float = 1e-06  # added to a variance, or to a mean square, before its root
    tie_embeddings: bool = True  # whether the output layer is the token table

    def image_tokens(self) -> int:
        """Return the vectors that the decoder reads of an image."""
        return (self.image_size // self.patch_size // self.pixel_shuffle) ** 2


def gelu_tanh(x: Tensor) -> Tensor:
    """Return GELU by its approximation with tanh (arXiv:1606.08415)."""
    return F.gelu(x, approximate="tanh")


class ImageTower(nn.Module):
    """SigLIP's Vision Transformer, without a class token: a vector for each patch."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        width, patches = c.vision_d_model, (c.image_size // c.patch_size) ** 2
        self.patch_embedding = nn.Conv2d(c.num_channels, width, c.patch_size, stride=c.patch_size)
        self.position_embedding = nn.Embedding(patches, width)
        self.layers = nn.ModuleList(
            TowerBlock(width, c.vision_n_heads, c.vision_d_ff, c.norm_eps, gelu_tanh)
            for _ in range(c.vision_n_layers)
        )
        self.post_layernorm = nn.LayerNorm(width, c.norm_eps)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, image_size, image_size) to (B, N, vision_d_model)."""
        x = self.patch_embedding(images).flatten(2).transpose(1, 2)  # (B, N, vision_d_model)
        x = x + self.position_embedding.weight
        for layer in self.layers:
            x = layer(x)
        x = self.post_layernorm(x)
        return x


def pixel_shuffle(x: Tensor, side: int) -> Tensor:
    """Return vectors (B, N, D) as (B, N / side^2, D * side^2): those of a square become one.

    Space to depth (Shi et al., 2016, arXiv:1609.05158), as Idefics3 does: the vectors of a square
    stand behind each other row by row.
    """
    rows = math.isqrt(x.size(1)) // side
    squares = x.unflatten(1, (rows, side, rows, side)).transpose(2, 3)
    return squares.flatten(3).flatten(1, 2).unflatten(2, (side * side, -1)).flatten(2)


class Block(nn.Module):
    """One layer of the decoder: attention, then SwiGLU, each on a normalized input."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(c.d_model, c.norm_eps)
        self.self_attn = Attention(c.d_model, c.n_heads, c.n_kv_heads, c.head_dim)
        self.post_attention_layernorm = RMSNorm(c.d_model, c.norm_eps)
        self.mlp = SwiGLU(c.d_model, c.d_ff)

    def forward(
        self, x: Tensor, table: RotaryTable, mask: Tensor | None, cache: KVCache | None = None
    ) -> Tensor:
        """Map (B, S, d_model) to (B, S, d_model)."""
        x = x + self.self_attn(self.input_layernorm(x), table, cache, mask)
        x = x + self.mlp(self.post_attention_layernorm(x))
        return x


def prefix_mask(prefix: Tensor, length: int) -> Tensor:
    """Return which positions each position attends to, (B, 1, S, S).

    All positions of a prefix see each other, and the others see the prefix and what lies before
    them (Liu et al., 2018, arXiv:1801.10198, and Raffel et al., 2020, arXiv:1910.10683, figure 3).

    Args:
        prefix: (B,) positions of the prefix of each sequence.
        length: S.
    """
    causal = torch.ones(length, length, dtype=torch.bool, device=prefix.device).tril()
    inside = torch.arange(length, device=prefix.device) < prefix[:, None]  # (B, S)
    return (causal | inside[:, None, :])[:, None]


class Model(nn.Module):
    """Tower, projection and decoder."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = c = config
        self.vision_tower = ImageTower(c)
        joined = c.vision_d_model * c.pixel_shuffle**2
        self.projector = nn.Linear(joined, c.d_model, bias=c.projector_bias)
        self.embed_tokens = nn.Embedding(c.vocab_size, c.d_model)
        self.layers = nn.ModuleList(Block(c) for _ in range(c.n_layers))
        self.norm = RMSNorm(c.d_model, c.norm_eps)
        self.lm_head: nn.Linear | None = None  # None if tied to the token table
        if not c.tie_embeddings:
            self.lm_head = nn.Linear(c.d_model, c.vocab_size, bias=False)
        self._init_weights()

    def _init_weights(self) -> None:
        """Draw matrices from N(0, 1 / fan-in), the last ones of attention and MLP smaller.

        The 2L outputs that a stack of L blocks adds to its stream sum up, so each is scaled by
        1 / sqrt(2L) (Radford et al., 2019, section 2.3).
        """
        ends = ("out_proj.weight", "fc2.weight", "o_proj.weight", "down_proj.weight")
        for name, weight in self.named_parameters():
            blocks = self.vision_tower.layers if name.startswith("vision") else self.layers
            if weight.dim() > 1:
                scale = 1 / math.sqrt(2 * len(blocks)) if name.endswith(ends) else 1.0
                nn.init.normal_(weight, std=scale * weight[0].numel() ** -0.5)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)
        if self.lm_head is not None:
            # Tokens begin about as long as the vectors of an image, and all are equally likely.
            nn.init.normal_(self.embed_tokens.weight, std=0.5)
            nn.init.zeros_(self.lm_head.weight)

    def encode_images(self, images: Tensor) -> Tensor:
        """Map images (B, C, image_size, image_size), -1 to 1, to vectors (B, M, d_model)."""
        seen: Tensor = self.vision_tower(images)
        side = self.config.pixel_shuffle
        read: Tensor = self.projector(pixel_shuffle(seen, side) if side > 1 else seen)
        return read

    def forward(
        self,
        images: Tensor | None,
        tokens: Tensor,
        prompts: Tensor | None = None,
        targets: Tensor | None = None,
        cache: list[KVCache] | None = None,
    ) -> Tensor:
        """Return logits (B, T, V) of a text, or with targets their mean cross-entropy in nats.

        Args:
            images: (B, C, image_size, image_size), -1 to 1; None with a cache that holds them.
            tokens: (B, T) a prompt and the answer behind it; without an image, tokens of an answer
                that follow what the cache holds, one at a time.
            prompts: (B,) how many of the tokens are the prompt; None for all.
            targets: (B, T) the token after each; -1 where there is nothing to predict.
            cache: Keys and values of the positions so far, from `new_cache`.
        """
        c, length = self.config, tokens.size(1)
        x = self.embed_tokens(tokens)  # (B, T, d_model)
        mask = None
        if images is not None:
            before = c.image_tokens()
            x = torch.cat((self.encode_images(images), x), dim=1)  # (B, S, d_model)
            if prompts is None:
                prompts = torch.full_like(tokens[:, 0], length)
            mask = prefix_mask(before + prompts, before + length)
        start = 0 if cache is None else cache[0].length
        assert start + x.size(1) <= c.max_seq_len, f"more than {c.max_seq_len} positions"
        table = rotary_table(start, x.size(1), c.head_dim, c.rope_theta, x)
        for index, layer in enumerate(self.layers):
            x = layer(x, table, mask, None if cache is None else cache[index])
        x = self.norm(x[:, -length:])  # Vectors of the image predict no token.
        logits: Tensor  # (B, T, V)
        logits = F.linear(x, self.embed_tokens.weight) if self.lm_head is None else self.lm_head(x)
        if targets is None:
            return logits
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=-1)

    def new_cache(self, batch: int, positions: int) -> list[KVCache]:
        """Return an empty cache a layer for so many positions, in the weights' dtype."""
        c, like = self.config, self.norm.weight
        return [KVCache(batch, c.n_kv_heads, positions, c.head_dim, like) for _ in self.layers]

    def num_params(self) -> int:
        """Return the number of weights; a tied output layer counts once."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a parameter in transformers' PaliGemmaForConditionalGeneration."""
        part, _, rest = name.partition(".")
        if part == "vision_tower":
            inner = "embeddings." if "_embedding" in rest else ""
            return f"{part}.{'encoder.' if rest.startswith('layers.') else inner}{rest}"
        if part == "projector":
            return f"multi_modal_projector.linear.{rest}"
        return f"language_model.{'' if part == 'lm_head' else 'model.'}{name}"

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json.

        transformers loads it as PaliGemma with a Llama decoder, unless squares of patches are
        joined or the projection has no bias, which its PaliGemma does not know.
        """
        c = self.config
        if c.pixel_shuffle > 1 or not c.projector_bias:
            return {}
        return {
            "architectures": ["PaliGemmaForConditionalGeneration"],
            "model_type": "paligemma",
            # The entry after the last stands for a vector of the image; no token has it.
            "image_token_index": c.vocab_size,
            "projection_dim": c.d_model,
            "hidden_size": c.d_model,
            "tie_word_embeddings": c.tie_embeddings,
            "vision_config": {
                "model_type": "siglip_vision_model",
                "hidden_size": c.vision_d_model,
                "num_hidden_layers": c.vision_n_layers,
                "num_attention_heads": c.vision_n_heads,
                "intermediate_size": c.vision_d_ff,
                "num_channels": c.num_channels,
                "image_size": c.image_size,
                "patch_size": c.patch_size,
                "projection_dim": c.d_model,
                "layer_norm_eps": c.norm_eps,
                "hidden_act": "gelu_pytorch_tanh",
                "vision_use_head": False,
            },
            "text_config": {
                "model_type": "llama",
                "hidden_size": c.d_model,
                "num_hidden_layers": c.n_layers,
                "num_attention_heads": c.n_heads,
                "num_key_value_heads": c.n_kv_heads,
                "head_dim": c.head_dim,
                "intermediate_size": c.d_ff,
                "vocab_size": c.vocab_size,
                "max_position_embeddings": c.max_seq_len,
                "rope_parameters": {"rope_type": "default", "rope_theta": c.rope_theta},
                "rms_norm_eps": c.norm_eps,
                "tie_word_embeddings": c.tie_embeddings,
                "use_bidirectional_attention": True,
            },
        }


@torch.inference_mode()
def generate(model: Model, images: Tensor, prompts: Tensor, most: int, end: int) -> Tensor:
    """Return the likeliest answers (B, A) to prompts (B, P) of one length, A at most `most`.

    Each pass takes the likeliest token. What follows the token `end` of an answer is `end`.
    """
    cache = model.new_cache(len(prompts), model.config.image_tokens() + prompts.size(1) + most)
    logits = model(images, prompts, cache=cache)
    answers = [logits[:, -1].argmax(-1)]
    while len(answers) < most and not all((token := answers[-1]) == end):
        following = model(None, token[:, None], cache=cache)[:, -1].argmax(-1)
        answers.append(following.where(token != end, end))
    return torch.stack(answers, dim=1)
