"""What a text-conditioned U-Net is made of, and what drawing an image with it takes."""

from __future__ import annotations

from metagen.families import diffusion_shape as shape
from metagen.families.family import Dims, Load, Value
from metagen.families.unet import Attention, UNet, two_layers


def widths(m: Dims) -> tuple[int, ...]:
    """Return the channels of each level."""
    return tuple(int(m["base_channels"]) << level for level in range(int(m["n_levels"])))


def net(m: Dims) -> UNet:
    """Return the U-Net of the dimensions."""
    text, length, last = int(m["text_width"]), int(m["text_length"]), int(m["n_levels"]) - 1
    upper, lowest = int(m["upper_layers"]), int(m["lowest_layers"])
    patch = int(m["patch_size"])

    def weights(c: int, layers: int) -> int:
        return 2 * c + 2 * (c * c + c) + layers * (18 * c * c + 2 * text * c + 17 * c)

    def flops(c: int, pixels: int, layers: int) -> int:
        ends, matrices = 2 * 2 * pixels * c * c, 2 * 18 * pixels * c * c + 2 * 2 * length * text * c
        pairs = 4 * c * pixels * (pixels + length)
        return ends + layers * (matrices + pairs)

    return UNet(
        widths=widths(m),
        blocks=int(m["blocks_per_level"]),
        embedding=int(m["embedding_dim"]),
        channels=int(m["image_channels"]) * patch**2,
        size=(int(m["image_height"]) // patch, int(m["image_width"]) // patch),
        attention=Attention(
            tuple(
                (lowest if level == last else upper) if level else 0 for level in range(last + 1)
            ),
            lowest,
            weights,
            flops,
        ),
    )


def text_count(m: Dims) -> int:
    """Return the parameters of the text encoder: tables, layers of 12 d**2 + 13 d, and a norm."""
    d = int(m["text_width"])
    tables = int(m["vocab_size"] + m["text_length"]) * d
    return tables + int(m["text_layers"]) * (12 * d * d + 13 * d) + 2 * d


def count(m: Dims) -> int:
    """Return the parameters: the U-Net, the text encoder, and what joins them in the embedding."""
    joint = two_layers(int(m["text_width"]), int(m["embedding_dim"]))
    return net(m).count() + text_count(m) + joint


def flops(m: Dims) -> float:
    """Return the operations of one pass, the text encoder's among them."""
    d, e, length = int(m["text_width"]), int(m["embedding_dim"]), int(m["text_length"])
    layer = 2 * 12 * d * d * length + 4 * d * length * length
    return float(net(m).flops() + int(m["text_layers"]) * layer + 2 * (d + e) * e)


def load(m: Dims) -> Load:
    """Return what drawing one image takes."""
    return shape.load(m, count(m), net(m), flops(m))


def explained(m: Dims, parameters: int) -> dict[str, str]:
    """Return the arithmetic of weights and activations."""
    return shape.explained(parameters, net(m))


def figures(m: Dims) -> dict[str, tuple[Value | str, str]]:
    """Return facts of the documents: the widths of the levels, latents and text encoder."""
    patch = int(m["patch_size"])
    return {
        "widths": (", ".join(f"{width:,}" for width in widths(m)), ""),
        "latent_channels": (int(m["image_channels"]) * patch**2, ""),
        "latent_height": (int(m["image_height"]) // patch, ""),
        "latent_width": (int(m["image_width"]) // patch, ""),
        "text_parameters": (text_count(m), "parameters"),
    }
