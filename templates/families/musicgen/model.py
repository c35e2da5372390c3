"""Audio from audio and captions: the decoder of MusicGen (Copet et al., 2023, arXiv:2306.05284).

A codec writes a clip as K tokens a frame. One Transformer predicts them all, codebook k delayed by
k frames, so that a token is predicted after those of the codebooks before it in its frame. What the
paper takes from elsewhere is trained here: its EnCodec as the first stage of train.py, and, in the
place of T5, a small encoder of bytes together with the decoder.

Shapes in comments: B clips, S samples, T frames, K codebooks, N entries of a codebook, P positions,
L bytes of a caption, H query heads, G key and value heads.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layers.attention import causal_attention
from layers.cache import KVCache
from layers.encodec import Codec
from layers.text import TextEncoder, caption_bytes

WAVELENGTH = 1e4  # wavelength of the slowest sinusoid, in units of 2 pi positions


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    sample_rate: int = 32000  # samples a second
    stride_1: int = 4  # samples that the first level of the codec joins
    stride_2: int = 4  # numbers of that level that the second joins
    stride_3: int = 5  # the same of the third
    stride_4: int = 8  # the same of the last
    codec_filters: int = 64  # channels at the sample rate; each level doubles them
    codec_lstm_layers: int = 2  # recurrent layers of the codec's encoder, and of its decoder
    codec_dim: int = 128  # numbers of a frame before they become tokens
    n_codebooks: int = 4  # tokens of a frame
    codebook_size: int = 2048  # entries of a codebook
    d_model: int = 1024  # width of the residual stream
    n_layers: int = 24  # number of blocks
    n_heads: int = 16  # query heads in each layer
    n_kv_heads: int = 16  # key and value heads in each layer; they divide n_heads
    d_ff: int = 4096  # width of the feed-forward layer
    max_seq_len: int = 1500  # longest clip, in frames
    text_length: int = 256  # bytes of a caption, at most; 0 for a model without captions
    text_width: int = 768  # width of the text encoder
    text_layers: int = 12  # layers of the text encoder
    text_heads: int = 12  # heads of a layer of the text encoder
    vocab_size: int = 257  # byte values, and one for what follows the caption

    def strides(self) -> tuple[int, ...]:
        """Return how many numbers each level of the codec joins, from the samples on."""
        return self.stride_1, self.stride_2, self.stride_3, self.stride_4

    def frame(self) -> int:
        """Return the samples of a frame."""
        return math.prod(self.strides())


def conditions(config: Config, captions: Sequence[str]) -> list[Tensor]:
    """Return [(B, L)], the bytes of captions, or [] for a model without; "" stands for none."""
    return [caption_bytes(config, captions)] if config.text_length else []


def delayed(codes: Tensor, blank: int) -> Tensor:
    """Return codes (B, K, T) as (B, K, T + K - 1), codebook k moved by k; the rest is `blank`."""
    batch, books, frames = codes.shape
    moved = codes.new_full((batch, books, frames + books - 1), blank)
    for book in range(books):
        moved[:, book, book : book + frames] = codes[:, book]
    return moved


def aligned(moved: Tensor) -> Tensor:
    """Return the codes (B, K, T) of which `delayed` made (B, K, T + K - 1)."""
    books = moved.size(1)
    frames = moved.size(2) - books + 1
    return torch.stack([moved[:, k, k : k + frames] for k in range(books)], dim=1)


class Attention(nn.Module):
    """Attention to the positions so far, or to a caption; groups of heads share a key head."""

    def __init__(self, config: Config, context: int) -> None:
        super().__init__()
        self.head_dim = config.d_model // config.n_heads
        shared = config.n_kv_heads * self.head_dim
        self.q_proj = nn.Linear(config.d_model, config.d_model, bias=False)
        self.k_proj = nn.Linear(context, shared, bias=False)
        self.v_proj = nn.Linear(context, shared, bias=False)
        self.out_proj = nn.Linear(config.d_model, config.d_model, bias=False)

    def heads(self, x: Tensor) -> Tensor:
        """Return (B, P, heads * D) as (B, heads, P, D)."""
        return x.view(*x.shape[:-1], -1, self.head_dim).transpose(1, 2)

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:
        """Map (B, P, d_model), each position of which attends to itself and those before it."""
        q, k, v = (self.heads(part(x)) for part in (self.q_proj, self.k_proj, self.v_proj))
        y = causal_attention(q, k, v) if cache is None else cache.attend(q, k, v, causal_attention)
        x = self.out_proj(y.transpose(1, 2).flatten(2))
        return x

    def across(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Map (B, P, d_model), which attends to keys and values (B, G, L, D) of a caption."""
        q = self.heads(self.q_proj(x))
        y = F.scaled_dot_product_attention(q, keys, values, enable_gqa=True)
        x = self.out_proj(y.transpose(1, 2).flatten(2))
        return x


class Block(nn.Module):
    """Attention to the past, to the caption, and a feed-forward layer, each after a norm."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.d_model
        self.self_attn = Attention(config, width)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        if config.text_length:
            self.encoder_attn = Attention(config, width)
            self.encoder_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, config.d_ff, bias=False)
        self.fc2 = nn.Linear(config.d_ff, width, bias=False)
        self.final_layer_norm = nn.LayerNorm(width)

    def caption(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values (B, G, L, D) of a caption (B, L, d_model)."""
        attn = self.encoder_attn
        return attn.heads(attn.k_proj(text)), attn.heads(attn.v_proj(text))

    def forward(
        self,
        x: Tensor,
        caption: Tensor | tuple[Tensor, Tensor] | None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Map (B, P, d_model) to (B, P, d_model); a caption is (B, L, d_model), or its keys."""
        x = x + self.self_attn(self.self_attn_layer_norm(x), cache)
        if caption is not None:
            read = self.caption(caption) if isinstance(caption, Tensor) else caption
            x = x + self.encoder_attn.across(self.encoder_attn_layer_norm(x), *read)
        x = x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
        return x


Captions = list[tuple[Tensor, Tensor] | None]
"""Keys and values of a caption for each layer; None without one."""


class Decoder(nn.Module):
    """The Transformer over frames."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, size = config.d_model, config.codebook_size
        # The entry after the last stands for no token: before a codebook begins, and after its end.
        tables = (nn.Embedding(size + 1, width) for _ in range(config.n_codebooks))
        self.embed_tokens = nn.ModuleList(tables)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.layer_norm = nn.LayerNorm(width)
        heads = (nn.Linear(width, size, bias=False) for _ in range(config.n_codebooks))
        self.lm_heads = nn.ModuleList(heads)

    def captions(self, text: Tensor | None) -> Captions:
        """Return what the layers attend to of a caption (B, L, d_model), once for a clip."""
        return [None if text is None else layer.caption(text) for layer in self.layers]  # type: ignore[operator]

    def forward(
        self,
        moved: Tensor,
        captions: Captions | Tensor | None,
        cache: list[KVCache] | None = None,
    ) -> Tensor:
        """Return logits (B, K, P, N) of delayed codes (B, K, P); each position predicts the next.

        Args:
            moved: What `delayed` returned, or with a cache what follows the positions it holds.
            captions: (B, L, d_model), None without any, or what `captions` returned.
            cache: Keys and values of the positions so far, from `new_cache`; P more are added.
        """
        start = 0 if cache is None else cache[0].length
        books = zip(self.embed_tokens, moved.unbind(1), strict=True)
        x = torch.stack([table(tokens) for table, tokens in books]).sum(0)  # (B, P, d_model)
        x = x + sinusoids(start, x.size(1), x)
        # Training passes captions as they are: a block's weights may lie in shards outside of it.
        read = captions if isinstance(captions, list) else [captions] * len(self.layers)
        caches = [None] * len(self.layers) if cache is None else cache
        for layer, caption, own in zip(self.layers, read, caches, strict=True):
            x = layer(x, caption, own)
        x = self.layer_norm(x)
        return torch.stack([head(x) for head in self.lm_heads], dim=1)

    def new_cache(self, batch: int, positions: int) -> list[KVCache]:
        """Return an empty cache a layer for so many positions, in the weights' dtype."""
        c, like = self.config, self.layer_norm.weight
        head_dim = c.d_model // c.n_heads
        return [KVCache(batch, c.n_kv_heads, positions, head_dim, like) for _ in self.layers]


def sinusoids(start: int, length: int, like: Tensor) -> Tensor:
    """Return (P, width), the cosines and sines of positions (arXiv:1706.03762, section 3.5)."""
    half = like.size(-1) // 2
    rates = torch.arange(half, device=like.device) / max(1, half - 1)
    places = torch.arange(start, start + length, device=like.device)
    angles = places[:, None] * torch.exp(-math.log(WAVELENGTH) * rates)
    return torch.cat((angles.cos(), angles.sin()), dim=-1).to(like.dtype)


class Model(nn.Module):
    """The codec, the encoder of captions and the decoder.

    transformers has no class for the three, so config.json and the tensors' names are its own.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.codec = Codec(config)
        self.text_encoder: TextEncoder | None = None
        if config.text_length:
            self.text_encoder = TextEncoder(config)
            self.text_proj = nn.Linear(config.text_width, config.d_model)
        self.decoder = Decoder(config)
        self._init_weights()

    def _init_weights(self) -> None:
        """Draw the decoder's matrices from N(0, 1 / fan-in); those that write to it, smaller.

        The 3L writes add up, so each is scaled by 1 / sqrt(3L) (Radford et al., 2019, section 2.3).
        The heads start at 0, which makes all tokens equally likely.
        """
        scale = 1 / math.sqrt(3 * self.config.n_layers)
        for name, weight in self.decoder.named_parameters():
            if name.startswith("lm_heads"):
                nn.init.zeros_(weight)
            elif weight.dim() == 2:
                writes = name.endswith(("out_proj.weight", "fc2.weight"))
                nn.init.normal_(weight, std=(scale if writes else 1) / math.sqrt(weight.size(1)))

    def read(self, text: Tensor | None) -> Captions:
        """Return the keys and values of captions (B, L), None for a model without them."""
        return self.decoder.captions(self.encoded(text))

    def encoded(self, text: Tensor | None) -> Tensor | None:
        """Return captions (B, L) as (B, L, d_model), None for a model without them."""
        if self.text_encoder is None or text is None:
            return None
        states: Tensor = self.text_proj(self.text_encoder(text))
        return states

    def forward(
        self, clips: Tensor, text: Tensor | None = None, *, task: str = "logits"
    ) -> tuple[Tensor, ...] | Tensor:
        """Pass clips through a part of the model, as the `task` says.

        Args:
            clips: Codes (B, K, T) for `logits`; else samples (B, S) of about -1 to 1, where S is a
                multiple of the samples of a frame.
            text: (B, L) what `conditions` returned.
            task: `logits`: logits (B, K, T + K - 1, N) of the delayed codes; `loss`: the mean
                cross-entropy of the codes of the samples in nats; `codec`: what `Codec.forward`
                returns.
        """
        if task == "codec":
            passed: tuple[Tensor, ...] = self.codec(clips[:, None])
            return passed
        with torch.no_grad():
            codes = self.codec.encode(clips[:, None]) if task == "loss" else clips
        size = self.config.codebook_size
        moved = delayed(codes, size)
        start = moved.new_full((*moved.shape[:2], 1), size)
        before = torch.cat((start, moved[..., :-1]), dim=-1)  # (B, K, T + K - 1)
        logits: Tensor = self.decoder(before, self.encoded(text))
        if task == "logits":
            return logits
        # What stands for no token is known, and is no target.
        return F.cross_entropy(logits.flatten(0, 2).float(), moved.flatten(), ignore_index=size)

    def num_params(self) -> int:
        """Return the number of weights."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a parameter in a checkpoint: its own."""
        return name

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json: none."""
        return {}


def draw(logits: Tensor, temperature: float, top_k: int, generator: torch.Generator) -> Tensor:
    """Return a token for each row of logits (B, K, N), as (B, K)."""
    if temperature == 0:
        return logits.argmax(-1)
    if top_k:
        least = logits.topk(min(top_k, logits.size(-1))).values[..., -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    chances = torch.softmax(logits.double() / temperature, dim=-1)
    drawn = torch.multinomial(chances.flatten(0, 1), 1, generator=generator)
    return drawn.view(logits.shape[:2])


@torch.inference_mode()
def generate(
    model: Model,
    start: Tensor,
    text: Tensor | None,
    frames: int,
    temperature: float = 1.0,
    top_k: int = 0,
    seed: int = 0,
) -> Tensor:
    """Return codes (B, K, T) that begin with others, and some frames more.

    Args:
        model: The model.
        start: (B, K, T) codes to continue; T may be 0.
        text: (B, L) the captions; None for a model without them.
        frames: Number of frames to add.
        temperature: Divisor of the logits; 0 always takes the likeliest token.
        top_k: Number of likeliest tokens to draw from; 0 for all.
        seed: Seed of the draws.
    """
    size, given, books = model.config.codebook_size, start.size(2), start.size(1)
    total = given + frames
    moved = delayed(F.pad(start, (0, frames), value=size), size)  # (B, K, total + K - 1)
    cache = model.decoder.new_cache(len(start), moved.size(2) + 1)
    captions = model.read(text)
    # Random numbers come from the CPU, so that a seed gives the same ones on every device.
    generator = torch.Generator().manual_seed(seed)
    column = torch.cat((torch.full_like(moved[..., :1], size), moved[..., :given]), dim=-1)
    for place in range(given, moved.size(2)):
        logits = model.decoder(column, captions, cache)[:, :, -1].float().cpu()  # (B, K, N)
        tokens = draw(logits, temperature, top_k, generator).to(moved.device)
        for book in range(books):
            # A codebook has begun after as many columns as it is delayed by, and ends as late.
            if given <= place - book < total:
                moved[:, book, place] = tokens[:, book]
        column = moved[..., place : place + 1]
    return aligned(moved)
