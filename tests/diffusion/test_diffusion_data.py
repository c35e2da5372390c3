"""Digits and your own images, their captions, and what is refused in a sentence."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from diffusion_settings import FAMILIES, PIXELS, Modules


def test_bundled_digits_do_not_leak(code: Modules) -> None:
    pytest.importorskip("sklearn")
    config = code["model"].Config(**next(m for _, m in FAMILIES.values() if fits(code, m)))
    data = code["data"].load_images(code["data"].Config(val_fraction=0.1), None, config)
    seen = {
        split: {each.images([i]).numpy().tobytes() for i in range(len(each))}
        for split, each in data.splits.items()
    }
    assert sum(map(len, data.splits.values())) == 1797
    for one, two in itertools.combinations(seen.values(), 2):
        assert not one & two


def fits(code: Modules, model: dict[str, Any]) -> bool:
    return set(model) == set(code["model"].Config.__dataclass_fields__)


def test_captions_come_from_metadata(code: Modules, pictures: Path) -> None:
    lines = [
        {"file_name": f"{name}/{n}.png", "text": f"a {name} square"}
        for name in ("red", "blue")
        for n in range(60)
    ]
    (pictures / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    config = code["model"].Config(**next(m for _, m in FAMILIES.values() if fits(code, m)))
    data = code["data"].load_images(code["data"].Config(), pictures, config)
    assert data.classes == ["a blue square", "a red square"]


def test_captions_come_from_a_csv_too(code: Modules, pictures: Path) -> None:
    names = [f"{name}/{n}.png" for name in ("red", "blue") for n in range(60)]
    lines = [f"{name},{name[:3]} square" for name in names]
    (pictures / "metadata.csv").write_text("\n".join(["file_name,text", *lines]))
    config = code["model"].Config(**next(m for _, m in FAMILIES.values() if fits(code, m)))
    data = code["data"].load_images(code["data"].Config(), pictures, config)
    assert data.classes == ["blu square", "red square"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "metadata.jsonl").write_text("{"), "metadata.jsonl:1 is not a JSON object"),
        (lambda f: (f / "metadata.jsonl").write_text('{"file_name": "x.png"}'), '1 has no "text"'),
        (
            lambda f: (f / "metadata.jsonl").write_text('{"file_name": "../x", "text": "y"}'),
            "which is no file below",
        ),
        (lambda f: (f / "red/1.png").rename(f / "1.png"), "1.png has no caption"),
        (lambda f: (f / "red/1.png").write_text("no image"), "cannot be read as an image"),
        (lambda f: [p.unlink() for p in f.rglob("*.png")], "no folder with images"),
    ],
)
def test_bad_images_are_refused_in_a_sentence(
    code: Modules, pictures: Path, spoil: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(pictures)
    config = code["model"].Config(**next(m for _, m in FAMILIES.values() if fits(code, m)))

    def read() -> None:
        data = code["data"].load_images(code["data"].Config(), pictures, config)
        for split in data.splits.values():
            split.images(range(len(split)))

    with pytest.raises(SystemExit) as caught:
        read()
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_a_class_that_nobody_taught_is_refused(models: dict[str, ModuleType]) -> None:
    module = models["unet_diffusion"]
    config = module.Config(**PIXELS)
    assert module.conditions(config, ["cat", ""], ["dog", "cat"]).tolist() == [1, 10]
    with pytest.raises(ValueError, match="'cow' is no class: there are dog, cat"):
        module.conditions(config, ["cow"], ["dog", "cat"])
    with pytest.raises(ValueError, match="11 classes are more than the 10"):
        module.conditions(config, [], list("abcdefghijk"))
