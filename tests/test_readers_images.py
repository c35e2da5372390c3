"""Images and masks from strangers: each pixel spans the range, or the file is refused or named."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.readers import Readers
from PIL import Image

RAMP = np.linspace(0, 1, 256).reshape(16, 16)


def saved(path: Path, values: np.ndarray, **options: object) -> Path:
    Image.fromarray(values).save(path, **options)
    return path


DEEP: dict[str, tuple[str, Callable[[], np.ndarray]]] = {
    "12 bits": ("png", lambda: (RAMP * 4095).astype(np.uint16)),
    "16 bits": ("png", lambda: (RAMP * 65535).astype(np.uint16)),
    "16 bits, dark": ("tiff", lambda: (7000 + RAMP * 2000).astype(np.uint16)),
    "32 bits, small": ("tiff", lambda: (RAMP * 255).astype(np.int32)),
    "32 bits, below 0": ("tiff", lambda: (RAMP * 3000 - 1000).astype(np.int32)),
    "32 bits": ("tiff", lambda: (RAMP * (2**31 - 1)).astype(np.int32)),
    "fractions": ("tiff", lambda: RAMP.astype(np.float32)),
    "floats": ("tiff", lambda: (RAMP * 1e9 - 5).astype(np.float32)),
}


@pytest.mark.parametrize("case", DEEP)
def test_an_image_of_more_than_8_bits_spans_the_range(
    runtime: Readers, tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    suffix, values = DEEP[case]
    path = saved(tmp_path / f"deep.{suffix}", values())
    pixels = runtime.images.read_image(path, (16, 16), 1)
    expected = (RAMP * 255).round()
    assert np.abs(pixels[0].numpy() - expected).max() <= 1
    runtime.pixels.survey([path]).say(1)
    assert "have more than 8 bits a pixel" in capsys.readouterr().err


def test_a_flat_scan_is_black_and_unsigned_values_keep_their_order(
    runtime: Readers, tmp_path: Path
) -> None:
    flat = saved(tmp_path / "flat.tiff", np.full((8, 8), 3000, np.uint16))
    assert runtime.images.read_image(flat, (8, 8), 1).max() == 0
    path = tmp_path / "unsigned.tiff"
    values = np.arange(2**31 - 32, 2**31 + 32, dtype=np.uint32).reshape(8, 8)
    buffer = io.BytesIO()
    Image.fromarray(values.view(np.int32)).save(buffer, "TIFF")
    signed, unsigned = (struct.pack("<HHIHH", 339, 3, 1, kind, 0) for kind in (2, 1))
    assert signed in buffer.getvalue()
    path.write_bytes(buffer.getvalue().replace(signed, unsigned))
    pixels = runtime.images.read_image(path, (8, 8), 1).flatten().numpy().astype(int)
    assert (np.diff(pixels) >= 0).all()
    assert (pixels[0], pixels[-1]) == (0, 255)


def black_on_nothing() -> Image.Image:
    image = Image.new("RGBA", (16, 16))
    image.paste((0, 0, 0, 255), (0, 0, 8, 16))
    return image


def quantized() -> Image.Image:
    image = Image.new("P", (16, 16), 1)
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.paste(0, (8, 0, 16, 16))
    return image


def transparent_palette() -> Image.Image:
    image = quantized()
    image.info["transparency"] = 0
    return image


HALVES: dict[str, tuple[str, Callable[[], Image.Image]]] = {
    "alpha": ("png", black_on_nothing),
    "grey and alpha": ("png", lambda: black_on_nothing().convert("LA")),
    "palette": ("png", quantized),
    "palette with alpha": ("png", transparent_palette),
    "one bit": ("png", lambda: quantized().convert("RGB").convert("1")),
    "print colours": ("jpg", lambda: quantized().convert("RGB").convert("CMYK")),
    "animated": ("gif", quantized),
    "webp": ("webp", black_on_nothing),
    "ppm": ("ppm", lambda: quantized().convert("RGB")),
    "bmp": ("BMP", lambda: quantized().convert("RGB")),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("case", HALVES)
def test_every_kind_of_pixels_becomes_what_a_page_shows(
    runtime: Readers, tmp_path: Path, case: str, channels: int
) -> None:
    suffix, made = HALVES[case]
    path = tmp_path / f"half.{suffix}"
    options = {"quality": 95} if suffix in ("jpg", "webp") else {}
    more = (
        {"save_all": True, "append_images": [Image.new("P", (16, 16))]} if suffix == "gif" else {}
    )
    made().save(path, **options, **more)
    pixels = runtime.images.read_image(path, (16, 16), channels)
    assert pixels.shape == (channels, 16, 16)
    assert pixels[:, :, :6].max() < 40
    assert pixels[:, :, 10:].min() > 215


NOTES: dict[str, tuple[str, Callable[[], Image.Image], str]] = {
    "colours": ("jpg", lambda: Image.new("RGB", (9, 9), (250, 10, 10)), "are stored in colours"),
    "transparency": ("png", black_on_nothing, "have transparent pixels, which are put on white"),
}


@pytest.mark.parametrize("case", NOTES)
def test_what_reading_changes_is_said(
    runtime: Readers, tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    suffix, made, sentence = NOTES[case]
    made().save(tmp_path / f"a.{suffix}")
    runtime.pixels.survey([tmp_path / f"a.{suffix}"]).say(1)
    assert sentence in capsys.readouterr().err


def test_the_pictures_behind_the_first_are_named(
    runtime: Readers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [Image.new("L", (9, 9), shade) for shade in (0, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    runtime.pixels.survey([tmp_path / "a.gif"]).say(1)
    assert "have several pictures: only the first is read" in capsys.readouterr().err


def test_pictures_in_formats_that_are_not_read_are_named(
    runtime: Readers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b.HEIC", "c.svg", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in runtime.images.image_files(tmp_path)] == ["a.png"]
    said = capsys.readouterr().err
    assert "2 files are not read: b.HEIC, c.svg. Convert them to PNG or JPEG." in said


def test_grey_pictures_in_three_channels_are_no_surprise(
    runtime: Readers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grey = Image.fromarray((RAMP * 255).astype(np.uint8)).convert("RGB")
    grey.save(tmp_path / "a.jpg", quality=60)
    grey.convert("RGBA").save(tmp_path / "b.png")
    runtime.pixels.survey([tmp_path / "a.jpg", tmp_path / "b.png"]).say(1)
    Image.new("RGB", (9, 9), (250, 10, 10)).save(tmp_path / "c.png")
    runtime.pixels.survey([tmp_path / "c.png"]).say(3)
    assert capsys.readouterr().err == ""


def bomb() -> bytes:
    """Return a PNG whose header promises more pixels than any image that is worth reading."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" * 999)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def cut(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray((np.random.default_rng(0).random((64, 64)) * 255).astype(np.uint8)).save(
        buffer, kind
    )
    return buffer.getvalue()[: len(buffer.getvalue()) // 2]


def not_finite() -> bytes:
    values = RAMP.astype(np.float32)
    values[3, 3] = math.nan
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF")
    return buffer.getvalue()


def strip() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (1, 60_000)).save(buffer, "PNG")
    return buffer.getvalue()


BROKEN = {
    "empty": lambda: b"",
    "text": lambda: b"an error page",
    "a cut JPEG": lambda: cut("JPEG"),
    "a cut PNG": lambda: cut("PNG"),
    "a cut TIFF": lambda: cut("TIFF"),
    "a bomb": bomb,
    "no number": not_finite,
    "a strip": strip,
    "PostScript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n",
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_damaged_file_is_named_in_one_sentence(
    runtime: Readers, tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(BROKEN[case]())
    with pytest.raises(SystemExit) as ended:
        runtime.images.read_image(path, (224, 224), 3)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert f"{path} cannot be read as an image" in said
    assert said.count("\n") == 1


# Masks


def written(folder: Path, mask: np.ndarray, shape: tuple[int, int] = (12, 8)) -> tuple[Path, Path]:
    image = saved(folder / "image.png", np.zeros(shape, np.uint8))
    return image, saved(folder / "mask.png", mask)


def test_a_mask_keeps_its_numbers_in_every_mode(runtime: Readers, tmp_path: Path) -> None:
    numbers = (np.arange(96).reshape(12, 8) % 4).astype(np.uint8)
    image, path = written(tmp_path, numbers)
    palette = Image.fromarray(numbers)
    palette.putpalette(bytes(range(0, 252, 21)))
    for mask in (Image.fromarray(numbers), Image.fromarray(numbers.astype(np.uint16)), palette):
        mask.save(path)
        read = runtime.masks.read_mask(path, (12, 8), image)
        assert read.numpy().tolist() == numbers.tolist()


BAD_MASKS = {
    "another size": (np.zeros((6, 8), np.uint8), "has 8 x 6 pixels, and its image 8 x 12"),
    "colours": (np.zeros((12, 8, 3), np.uint8), "holds colours"),
    "large numbers": (np.full((12, 8), 300, np.uint16), "values that are no class"),
    "two channels": (np.zeros((12, 8, 2), np.uint8), "holds colours"),
}


@pytest.mark.parametrize("case", BAD_MASKS)
def test_a_mask_that_does_not_fit_is_refused(
    runtime: Readers, tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    values, sentence = BAD_MASKS[case]
    image, path = written(tmp_path, values)
    with pytest.raises(SystemExit):
        runtime.masks.read_mask(path, (12, 8), image)
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_a_mask_of_a_photo_that_is_turned_has_its_upright_size(
    runtime: Readers, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (12, 8)).save(tmp_path / "photo.jpg", exif=exif)
    mask = saved(tmp_path / "mask.png", np.ones((12, 8), np.uint8))
    read = runtime.masks.read_mask(mask, (12, 8), tmp_path / "photo.jpg")
    assert read.shape == (12, 8)


# Reports


def test_a_score_of_nothing_is_null_in_valid_json(runtime: Readers, tmp_path: Path) -> None:
    import json

    (tmp_path / "state.json").write_text('{"step": 3}')
    samples = runtime.report.Samples("images", 20)
    row = runtime.report.metric(
        "iou", "share", lambda _: math.nan, {"other": math.inf}, samples, title="IoU",
        higher_is_better=True,
    )  # fmt: skip
    report = runtime.report.Report("mine", None, 20, [row], untested=["dog"])
    text = runtime.journal.to_text(runtime.report.contents(report, tmp_path))

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    content = json.loads(text, parse_constant=refuse)
    (metric,) = content["metrics"]
    assert metric["value"] is None
    assert metric["interval"] is None
    assert metric["baselines"] == {"other": None}
    assert content["untested"] == ["dog"]
