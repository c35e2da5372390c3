"""The video family at a tiny size, and clips to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from helpers.family_code import TRAIN

MODEL: dict[str, Any] = {
    "num_frames": 6,
    "given_frames": 2,
    "image_height": 12,
    "image_width": 8,
    "image_channels": 3,
    "patch_frames": 2,
    "patch_size": 4,
    "d_model": 32,
    "n_layers": 2,
    "n_heads": 2,
    "d_ff": 48,
    "time_dim": 16,
    "factorized": False,
    "norm_eps": 1e-6,
    "rope_theta": 10000.0,
}
SETTINGS = {
    "model": MODEL,
    "data": {"frame_step": 1, "shift": 3.0, "val_fraction": 0.3, "test_fraction": 0.3},
    "train": {**TRAIN, "ema_decay": 0.9},
    "eval": {
        "references": 40,
        "samples": 20,
        "batch_size": 8,
        "sampling_steps": 2,
        "side": 8,
        "components": 4,
        "seed": 42,
    },
    "infer": {"samples": 2, "frames": 6, "sampling_steps": 2, "seed": 42, "dtype": "bfloat16"},
}


def write_clip(
    path: Path,
    *,
    frames: int = 10,
    sizes: tuple[tuple[int, int], ...] = ((32, 24),),
    codec: str = "mpeg4",
    seed: int = 0,
) -> Path:
    """Write a clip of a square that moves; each of several sizes (width, height) has its share."""
    import av

    draw = np.random.default_rng(seed)
    colour, path = draw.integers(60, 255, 3), Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=10)
        stream.width, stream.height = sizes[0]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(frames):
            width, height = sizes[number * len(sizes) // frames]
            pixels = np.zeros((height, width, 3), np.uint8)
            pixels[number : number + 8, 4:12] = colour
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if (width, height) == sizes[0]:
                container.mux(stream.encode(frame))
                continue
            other: Any = av.CodecContext.create(codec, "w")
            other.width, other.height, other.pix_fmt = width, height, stream.pix_fmt
            other.time_base = stream.codec_context.time_base
            for packet in [*other.encode(frame), *other.encode()]:
                packet.stream, packet.pts, packet.dts = stream, number, number
                container.mux(packet)
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    """Write a file of silence without pictures."""
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
