"""Speech to text in the form of Whisper (Radford et al., 2022, arXiv:2212.04356, section 2.2).

An encoder reads the log-mel spectrogram of a clip, and a decoder writes its text, token by token.
Without decoder layers, the encoder alone gives each position's chances of tokens, which are trained
by connectionist temporal classification (CTC: Graves et al., 2006).

Shapes in comments: B clips, M bands, F frames of a spectrogram, P = F / 2 positions of the encoder,
T tokens, V entries of the vocabulary, H heads.
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
from layers.ctc import BLANK, collapsed, prefixes

# The first entries of the vocabulary. What ends a text is CTC's blank too, since it is in no text.
END_OF_TEXT, START = BLANK, 1
WAVELENGTH = 1e4  # wavelength of the slowest sinusoid, in units of 2 pi positions


@dataclass(frozen=True)
class Config:
    """Dimensions of the model; the defaults are the full model."""

    sample_rate: int = 16000  # samples a second
    n_fft: int = 400  # samples of a window of the spectrogram
    hop_length: int = 160  # samples from one frame to the next
    n_mels: int = 80  # bands of the spectrogram
    audio_positions: int = 1500  # positions of the encoder, each of two frames
    d_model: int = 384  # width of both residual streams
    n_heads: int = 6  # heads in each layer
    d_ff: int = 1536  # width of the feed-forward layers
    n_encoder_layers: int = 4  # blocks of the encoder
    n_decoder_layers: int = 4  # blocks of the decoder; 0 for an encoder that is trained by CTC
    vocab_size: int = 51864  # entries of the token table
    text_length: int = 448  # tokens of a text, at most; 0 without a decoder

    def frames(self) -> int:
        """Return the frames of a clip."""
        return 2 * self.audio_positions

    def samples(self) -> int:
        """Return the samples of a clip."""
        return self.frames() * self.hop_length


def sinusoids(positions: int, width: int) -> Tensor:
    """Return (positions, width), sines and cosines of positions (arXiv:1706.03762, section 3.5)."""
    half = width // 2
    rates = torch.exp(-math.log(WAVELENGTH) / max(1, half - 1) * torch.arange(half))
    angles = torch.arange(positions)[:, None] * rates
    return torch.cat((angles.sin(), angles.cos()), dim=1)


class Attention(nn.Module):
    """Multi-head attention to a stream's own positions or to those of the encoder."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.head_dim = width // heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)  # A bias would change no weight.
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def heads(self, x: Tensor) -> Tensor:
        """Return (B, T, width) as (B, H, T, D)."""
        return x.view(*x.shape[:2], -1, self.head_dim).transpose(1, 2)

    def keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values (B, H, T, D) of a stream (B, T, width)."""
        return self.heads(self.k_proj(x)), self.heads(self.v_proj(x))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, P, width), each position of which attends to all."""
        return self.to(x, *self.keys(x))

    def to(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:  # type: ignore[override]
        """Map (B, T, width), which attends to some keys and values (B, H, P, D)."""
        q = self.heads(self.q_proj(x))
        return self.mixed(F.scaled_dot_product_attention(q, keys, values))

    def causal(self, x: Tensor, cache: KVCache | None) -> Tensor:
        """Map (B, T, width), each position of which attends to itself and those before it."""
        q, (k, v) = self.heads(self.q_proj(x)), self.keys(x)
        y = causal_attention(q, k, v) if cache is None else cache.attend(q, k, v, causal_attention)
        return self.mixed(y)

    def mixed(self, y: Tensor) -> Tensor:
        """Map the heads' results (B, H, T, D) to (B, T, width)."""
        x: Tensor = self.out_proj(y.transpose(1, 2).flatten(2))
        return x


class EncoderLayer(nn.Module):
    """Attention to all positions and a feed-forward layer, each after a norm."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.d_model
        self.self_attn = Attention(width, config.n_heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, config.d_ff)
        self.fc2 = nn.Linear(config.d_ff, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, P, d_model) to (B, P, d_model)."""
        x = x + self.self_attn(self.self_attn_layer_norm(x))
        x = x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
        return x


class Encoder(nn.Module):
    """Two convolutions, the second of which joins two frames, and blocks of full attention."""

    places: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.d_model
        self.conv1 = nn.Conv1d(config.n_mels, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.register_buffer("places", sinusoids(config.audio_positions, width))
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.n_encoder_layers))
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, audio: Tensor) -> Tensor:
        """Map log-mel spectrograms (B, M, F) to states (B, P, d_model)."""
        x: Tensor = F.gelu(self.conv2(F.gelu(self.conv1(audio)))).transpose(1, 2)
        x = x + self.places
        for layer in self.layers:
            x = layer(x)
        x = self.layer_norm(x)
        return x


class DecoderLayer(EncoderLayer):
    """Attention to the tokens so far, to the encoder's states, and a feed-forward layer."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.encoder_attn = Attention(config.d_model, config.n_heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(config.d_model)

    def forward(  # type: ignore[override]
        self, x: Tensor, read: Tensor | tuple[Tensor, Tensor], cache: KVCache | None = None
    ) -> Tensor:
        """Map (B, T, d_model); `read` has the states (B, P, d_model), or their keys and values."""
        x = x + self.self_attn.causal(self.self_attn_layer_norm(x), cache)
        known = self.encoder_attn.keys(read) if isinstance(read, Tensor) else read
        x = x + self.encoder_attn.to(self.encoder_attn_layer_norm(x), *known)
        x = x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
        return x


Read = Sequence[Tensor | tuple[Tensor, Tensor]]
"""What each layer attends to of a clip: the encoder's states, or keys and values of them."""


class Decoder(nn.Module):
    """Blocks over the tokens so far, with learned positions."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embed_positions = nn.Embedding(config.text_length, config.d_model)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.n_decoder_layers))
        self.layer_norm = nn.LayerNorm(config.d_model)

    def forward(self, x: Tensor, read: Read, caches: Sequence[KVCache] | None = None) -> Tensor:
        """Map embedded tokens (B, T, d_model), those that follow what the caches hold."""
        start = caches[0].length if caches else 0
        x = x + self.embed_positions.weight[start : start + x.size(1)]
        for place, layer in enumerate(self.layers):
            x = layer(x, read[place], caches[place] if caches else None)
        x = self.layer_norm(x)
        return x

    def keys(self, states: Tensor) -> Read:
        """Return what the layers attend to of states (B, P, d_model), once for a clip."""
        return [layer.encoder_attn.keys(states) for layer in self.layers]  # type: ignore[operator, union-attr]

    def new_caches(self, batch: int) -> list[KVCache]:
        """Return an empty cache of each layer for the longest text, in the weights' dtype."""
        c, like = self.config, self.layer_norm.weight
        size = c.d_model // c.n_heads
        return [KVCache(batch, c.n_heads, c.text_length, size, like) for _ in self.layers]


class Model(nn.Module):
    """Encoder, and decoder or head; one with a decoder opens as transformers' Whisper."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config) if config.n_decoder_layers else None
        # The output layer shares its weights with the embedding of tokens (section 2.2).
        self.embed_tokens = nn.Embedding(config.vocab_size, config.d_model)
        self._init_weights()

    def _init_weights(self) -> None:
        """Draw matrices from N(0, 1 / fan-in), those that write to a stream smaller.

        The writes of a stream add up, so each is scaled by one over the root of their number
        (Radford et al., 2019, section 2.3).
        """
        c = self.config
        writes = {"encoder": 2 * c.n_encoder_layers, "decoder": 3 * c.n_decoder_layers}
        for name, weight in self.named_parameters():
            if name.startswith("embed_tokens") or "embed_positions" in name:
                nn.init.normal_(weight, std=c.d_model**-0.5 if "tokens" in name else 0.02)
            elif weight.dim() > 1:
                last = name.endswith(("out_proj.weight", "fc2.weight"))
                share = writes[name.partition(".")[0]] if last else 1
                nn.init.normal_(weight, std=(share * weight[0].numel()) ** -0.5)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)

    def logits(self, x: Tensor) -> Tensor:
        """Return logits (B, T, V) of a stream (B, T, d_model)."""
        return F.linear(x, self.embed_tokens.weight)

    def written(
        self, tokens: Tensor, read: Read, caches: Sequence[KVCache] | None = None
    ) -> Tensor:
        """Return the logits (B, T, V) of what follows each of some tokens (B, T)."""
        assert self.decoder is not None
        return self.logits(self.decoder(self.embed_tokens(tokens), read, caches))

    def forward(
        self, audio: Tensor, tokens: Tensor | None = None, *, joint: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return the logits of texts.

        Args:
            audio: (B, M, F) log-mel spectrograms.
            tokens: (B, T), of which each predicts the next; None for a model without a decoder.
            joint: Whether to return the encoder's logits too.

        Returns:
            Logits (B, T, V) of the next tokens; those (B, P, V) of the encoder without a decoder;
            or both.
        """
        states = self.encoder(audio)
        if self.decoder is None or tokens is None:
            return self.logits(states)
        logits = self.written(tokens, [states] * self.config.n_decoder_layers)
        return (logits, self.logits(states)) if joint else logits

    def num_params(self) -> int:
        """Return the number of weights; the encoder's positions are no weights."""
        return sum(p.numel() for p in self.parameters())

    def checkpoint_name(self, name: str) -> str:
        """Return the name of a tensor in transformers' WhisperForConditionalGeneration."""
        if self.decoder is None:
            return name
        owned = name.replace("embed_tokens", "decoder.embed_tokens")
        return f"model.{owned.replace('encoder.places', 'encoder.embed_positions.weight')}"

    def checkpoint_config(self) -> dict[str, Any]:
        """Return further entries of config.json, with which transformers loads it as Whisper."""
        c = self.config
        if self.decoder is None:
            return {"model_type": "whisper_ctc"}
        return {
            "architectures": ["WhisperForConditionalGeneration"],
            "model_type": "whisper",
            "num_mel_bins": c.n_mels,
            "encoder_layers": c.n_encoder_layers,
            "decoder_layers": c.n_decoder_layers,
            "encoder_attention_heads": c.n_heads,
            "decoder_attention_heads": c.n_heads,
            "encoder_ffn_dim": c.d_ff,
            "decoder_ffn_dim": c.d_ff,
            "max_source_positions": c.audio_positions,
            "max_target_positions": c.text_length,
            "activation_function": "gelu",
            "tie_word_embeddings": True,
            "decoder_start_token_id": START,
            "bos_token_id": START,
            "eos_token_id": END_OF_TEXT,
            "pad_token_id": END_OF_TEXT,
            "suppress_tokens": None,
            "begin_suppress_tokens": None,
        }


@torch.inference_mode()
def transcribe(model: Model, audio: Tensor, beams: int = 1) -> list[list[int]]:
    """Return the tokens of the likeliest text of each clip that a search finds.

    Args:
        model: The model.
        audio: (B, M, F) log-mel spectrograms.
        beams: Texts that the search keeps of each clip; with 1 it takes the likeliest token.
    """
    if model.decoder is None:
        chances = model(audio).float().log_softmax(-1).cpu()  # (B, P, V)
        return [collapsed(each) if beams == 1 else prefixes(each, beams) for each in chances]
    states = model.encoder(audio)
    return greedy(model, states) if beams == 1 else [beam(model, s[None], beams) for s in states]


def greedy(model: Model, states: Tensor) -> list[list[int]]:
    """Return the tokens of clips' states (B, P, d_model), the likeliest each time."""
    assert model.decoder is not None
    read, caches = model.decoder.keys(states), model.decoder.new_caches(len(states))
    newest = torch.full((len(states), 1), START, device=states.device)
    texts: list[list[int]] = [[] for _ in states]
    going = [True] * len(texts)
    for _ in range(model.config.text_length):
        newest = model.written(newest, read, caches)[:, -1:].argmax(-1)
        for place, token in enumerate(newest[:, 0].tolist()):
            going[place] &= token != END_OF_TEXT
            if going[place]:
                texts[place].append(token)
        if not any(going):
            break
    return texts


def beam(model: Model, states: Tensor, beams: int) -> list[int]:
    """Return the tokens of one clip's states (1, P, d_model) by a search of several texts.

    Texts of different lengths are compared by the mean logarithm of their tokens' chances, the end
    included, as Whisper compares them.
    """
    assert model.decoder is not None
    width = min(beams, model.config.vocab_size)
    read, caches = model.decoder.keys(states), model.decoder.new_caches(1)
    texts, scores = [[START]], torch.zeros(1, device=states.device)
    ended: list[tuple[float, list[int]]] = []
    for length in range(1, model.config.text_length + 1):
        newest = torch.tensor([text[-1:] for text in texts], device=states.device)
        several = [
            (k.expand(len(texts), -1, -1, -1), v.expand(len(texts), -1, -1, -1)) for k, v in read
        ]
        logits = model.written(newest, several, caches)[:, -1]
        sums = scores[:, None] + logits.float().log_softmax(-1)  # (texts, V)
        # Twice as many are enough, since each text ends in one way only.
        best, places = sums.flatten().topk(min(2 * width, sums.numel()))
        kept: list[tuple[float, int, list[int]]] = []
        for score, place in zip(best.tolist(), places.tolist(), strict=True):
            parent, token = divmod(place, sums.size(1))
            if token == END_OF_TEXT:
                ended.append((score / length, texts[parent][1:]))
            elif len(kept) < width:
                kept.append((score, parent, [*texts[parent], token]))
        if len(ended) >= width or length == model.config.text_length:
            break
        scores = torch.tensor([score for score, _, _ in kept], device=states.device)
        parents = torch.tensor([parent for _, parent, _ in kept], device=states.device)
        texts = [text for _, _, text in kept]
        for cache in caches:
            cache.store = cache.store[:, parents]
    unfinished = [(score / length, text[1:]) for score, _, text in kept]
    return max(ended or unfinished)[1]
