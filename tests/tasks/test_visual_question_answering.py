"""Questions about images: the user's rows, refusals, the loss, bundled questions, scores, a run."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from helpers.family_code import beats_its_baselines, modules_of, write_code
from helpers.vlm_settings import ASKED, COLOURS, MODEL, SIZES, write_rows

from metagen import paths
from metagen.families.vlm import FAMILY

SPEC = paths.specs() / "multimodal/multimodal_vlm.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_code(tmp_path_factory.mktemp("code"), FAMILY, SIZES)


@pytest.fixture(scope="module")
def code(folder: Path) -> Iterator[dict[str, ModuleType]]:
    with modules_of(folder) as modules:
        import runtime.questions  # noqa: F401

        yield {**modules, "questions": sys.modules["runtime.questions"]}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("rows") / "mine")


def read(code: dict[str, ModuleType], path: Path) -> Any:
    config = code["data"].Config(**SIZES["data"])
    return code["data"].load_questions(config, path, code["model"].Config(**MODEL))


# The user's data


def test_all_questions_about_an_image_are_in_one_split(
    code: dict[str, ModuleType], rows: Path
) -> None:
    whole = read(code, rows)
    names = {split: {q.name for q in each} for split, each in whole.splits.items()}
    assert sum(map(len, names.values())) == 40
    assert sum(map(len, whole.splits.values())) == 80
    assert not names["train"] & (names["val"] | names["test"])
    assert not names["val"] & names["test"]
    assert {q.answer for q in whole.splits["train"]} == {*COLOURS, "no"}


def test_a_copy_of_an_image_under_another_name_is_in_the_same_split(
    code: dict[str, ModuleType], tmp_path: Path
) -> None:
    file = write_rows(tmp_path)
    copies = []
    for number in range(40):
        data = (tmp_path / f"pictures/{number}.png").read_bytes()
        (tmp_path / f"pictures/copy_{number}.png").write_bytes(data)
        row = {"image": f"pictures/copy_{number}.png", "prompt": "and this?", "answer": "a copy"}
        copies.append(json.dumps(row))
    file.write_text(file.read_text() + "\n".join(copies))
    for each in read(code, file).splits.values():
        about = {}
        for q in each:
            about.setdefault(q.name, set()).add(q.prompt)
        assert all("and this?" in prompts for prompts in about.values())


def test_files_named_after_splits_are_these_splits(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = write_rows(tmp_path).read_text().splitlines(keepends=True)
    (tmp_path / "rows.jsonl").unlink()
    for split, part in (("train", lines[:40]), ("val", lines[40:60]), ("test", lines[58:])):
        (tmp_path / f"{split}.jsonl").write_text("".join(part))
    whole = read(code, tmp_path)
    assert {split: len(each) for split, each in whole.splits.items()} == {
        **{"train": 40, "val": 20, "test": 22}
    }
    assert "about an image of val or test" not in capsys.readouterr().err
    (tmp_path / "test.jsonl").write_text("".join(lines[30:60]))
    read(code, tmp_path)
    assert "10 questions of train are about an image of val or test" in capsys.readouterr().err


BAD = [
    ('{"image": "../secret.png", "prompt": "a", "answer": "b"}', "no file below"),
    ('{"image": "/etc/hostname", "prompt": "a", "answer": "b"}', "no file below"),
    ('{"image": "pictures/none.png", "prompt": "a", "answer": "b"}', "no file below"),
    ('{"image": "link.png", "prompt": "a", "answer": "b"}', "or a link"),
    ('{"image": "linked/0.png", "prompt": "a", "answer": "b"}', "or a link"),
    ('{"image": "pictures/text.png", "prompt": "a", "answer": "b"}', "text.png"),
    ('{"image": "pictures/0.png", "answer": "b"}', 'has no "prompt"'),
    ('{"image": "pictures/0.png", "prompt": "a", "answer": ""}', 'an empty "answer"'),
    ('{"image": "pictures/0.png", "prompt": "a", "answer": {}}', '"answer"'),
    ('{"image": "pictures/0.png", "prompt": "a", "answer": "\\ud800"}', "half a character"),
    ('{"image": "pictures/0.png", "prompt": "a", "answer": "b"', "rows.jsonl"),
    ('{"image": "pictures/0.png", "prompt": "a", "answer": "b"}', "too few questions"),
    ("", "rows.jsonl"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_bad_rows_are_refused_in_a_sentence(
    code: dict[str, ModuleType],
    text: str,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = write_rows(tmp_path / "mine", images=2)
    (tmp_path / "secret.png").write_bytes((tmp_path / "mine/pictures/0.png").read_bytes())
    (tmp_path / "mine/link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "mine/linked").symlink_to(tmp_path / "mine/pictures")
    (tmp_path / "mine/pictures/text.png").write_text("no image")
    file.write_text(text)
    with pytest.raises(SystemExit) as caught:
        read(code, file)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_a_prompt_that_does_not_fit_is_refused_and_not_cut(
    code: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_rows(tmp_path)
    letters = "".join(map(chr, range(0x430, 0x430 + 70)))
    row = {"image": "pictures/0.png", "prompt": letters, "answer": "b"}
    file.write_text(file.read_text() + json.dumps(row))
    with pytest.raises(SystemExit):
        read(code, file)
    said = capsys.readouterr().err
    assert "48 fit beside the image" in said


def test_nothing_is_cut_off_an_image(code: dict[str, ModuleType], tmp_path: Path) -> None:
    from PIL import Image

    image = Image.new("RGB", (64, 8))
    image.paste((255, 255, 255), (0, 0, 8, 8))
    image.paste((255, 255, 255), (56, 0, 64, 8))
    image.save(tmp_path / "wide.png")
    pixels = code["data"].pixels_of(tmp_path / "wide.png", 16, 3)
    assert pixels.shape == (3, 16, 16)
    assert int(pixels[:, :, 0].min()) > 200
    assert int(pixels[:, :, -1].min()) > 200
    assert int(pixels[:, :, 8].max()) < 50


# Samples and the loss


def test_only_tokens_of_the_answer_are_targets(code: dict[str, ModuleType], rows: Path) -> None:
    whole = read(code, rows)
    colours = [q for q in whole.splits["train"] if q.prompt == ASKED]
    others = [q for q in whole.splits["train"] if q.prompt != ASKED]
    images, tokens, prompts, targets = whole.batch([colours[0], others[0]])
    assert images.shape == (2, 3, 16, 16)
    assert -1 <= float(images.min()) < float(images.max()) <= 1
    tokenizer = whole.tokenizer
    for row, q in enumerate((colours[0], others[0])):
        length = int(prompts[row])
        assert tokenizer.decode(tokens[row, :length].tolist()) == f"{q.prompt}\n"
        learned = targets[row][targets[row] >= 0].tolist()
        assert learned[-1] == tokenizer.end_of_text
        assert tokenizer.decode(learned[:-1]) == q.answer
        assert int((targets[row] >= 0).nonzero()[0]) == length - 1
        # A target is the token after its place.
        places = (targets[row] >= 0).nonzero()[:-1, 0]
        assert torch.equal(targets[row, places], tokens[row, places + 1])


def test_padding_changes_no_loss(code: dict[str, ModuleType], rows: Path) -> None:
    whole = read(code, rows)
    some = whole.splits["train"][:6]
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config(**MODEL))
    with torch.no_grad():
        together, count = code["train"].answer_loss(model, whole.batch(some))
        alone = [code["train"].answer_loss(model, whole.batch([q])) for q in some]
    assert count == sum(number for _, number in alone)
    mean = sum(loss * number for loss, number in alone) / count
    torch.testing.assert_close(together, mean)


# The bundled questions


@pytest.fixture(scope="module")
def scenes(code: dict[str, ModuleType]) -> Any:
    module = code["questions"]
    form = module.FORM
    few = type(form)(**{**vars(form), "counts": {"train": 200, "val": 20, "test": 40}})
    before, module.FORM = module.FORM, few
    try:
        return module.questions()[0]
    finally:
        module.FORM = before


def test_an_answer_is_what_the_boxes_of_a_scene_say(scenes: Any) -> None:
    for scene, about in scenes["train"]:
        middles, areas = (
            scene.boxes[:, [0, 2]].mean(1),
            np.prod(scene.boxes[:, 2:] - scene.boxes[:, :2], 1),
        )
        digits = [str(digit) for digit in scene.classes]
        right = {
            "count": str(len(digits)),
            "leftmost": digits[middles.argmin()],
            "rightmost": digits[middles.argmax()],
            "largest": digits[areas.argmax()],
            "ground": ("brick", "grass", "gravel")[scene.texture],
        }
        for kind, prompt, answer in about:
            if kind == "presence":
                named = prompt.removeprefix("is there a ").removesuffix("?")
                assert answer == ("yes" if named in digits else "no")
            else:
                assert answer == right[kind]


def test_a_question_that_a_scene_leaves_open_is_not_asked(
    code: dict[str, ModuleType], scenes: Any
) -> None:
    module = code["questions"]
    two = np.array([[0, 0, 10, 10], [2, 20, 12, 30]], np.float32)
    assert module._is_open("leftmost", two)
    assert module._is_open("largest", two)
    assert not module._is_open("count", two)
    assert not module._is_open("leftmost", two[:1])
    asked = Counter(kind for _, about in scenes["train"] for kind, _, _ in about)
    assert asked["count"] == asked["presence"] == asked["ground"] == 200
    assert 50 < asked["leftmost"] < 200
    assert 50 < asked["largest"] < 200


def test_digits_of_a_scene_lie_in_cells_and_splits_share_none(
    code: dict[str, ModuleType], scenes: Any
) -> None:
    for scene, _ in scenes["train"]:
        assert scene.pixels.shape == (32, 32)
        cells = [(int(box[1] // 16), int(box[0] // 16)) for box in scene.boxes]
        ends = [(int((box[3] - 1) // 16), int((box[2] - 1) // 16)) for box in scene.boxes]
        assert cells == ends
        assert len({*cells}) == len(cells) == len(scene.classes)
    used = [{*range(500)[part]} for part in sys.modules["runtime.scenes"].DIGITS.values()]
    assert not used[0] & (used[1] | used[2])
    assert not used[1] & used[2]


@pytest.mark.slow
@pytest.mark.ci
def test_rules_read_most_answers_off_a_scene(code: dict[str, ModuleType], scenes: Any) -> None:
    Question = code["data"].Question

    def listed(split: str) -> list[Any]:
        return [
            Question(scene, str(number), each.prompt, each.answer, each.kind)
            for number, (scene, about) in enumerate(scenes[split])
            for each in about
        ]

    test = listed("test")
    answers = code["eval"].rules(listed("train"), test)
    right = [answer == q.answer for answer, q in zip(answers, test, strict=True)]
    prior = code["eval"].Prior(listed("train"))
    blind = [prior(q) == q.answer for q in test]
    assert np.mean(right) > np.mean(blind) + 0.2


# Scores


def test_case_and_blanks_do_not_count(code: dict[str, ModuleType]) -> None:
    plain = code["eval"].plain
    assert plain("  A  Bridge ") == plain("a bridge")
    assert plain("a bridge") != plain("the bridge")


def test_baselines_without_an_image_are_the_commonest_answers(
    code: dict[str, ModuleType], rows: Path
) -> None:
    train = read(code, rows).splits["train"]
    prior = code["eval"].Prior(train)
    colours = Counter(q.answer for q in train if q.prompt == ASKED)
    asked = next(q for q in train if q.prompt == ASKED)
    assert colours[prior(asked)] == max(colours.values())
    other = next(q for q in train if q.prompt != ASKED)
    assert prior(other) == prior.common == "no"


def test_the_nearest_image_with_the_same_question_answers(
    code: dict[str, ModuleType], rows: Path
) -> None:
    whole = read(code, rows)
    train, prior = whole.splits["train"], code["eval"].Prior(whole.splits["train"])
    # A training question is nearest to itself.
    own = code["eval"].nearest(whole, train, train, prior)
    assert own == [q.answer for q in train]
    found = code["eval"].nearest(whole, train, whole.splits["test"], prior)
    asked = [q.prompt == ASKED for q in whole.splits["test"]]
    assert all((answer in COLOURS) == colour for answer, colour in zip(found, asked, strict=True))


def test_prompts_of_several_lengths_are_answered_as_each_alone(
    code: dict[str, ModuleType], rows: Path
) -> None:
    whole = read(code, rows)
    torch.manual_seed(0)
    model = code["model"].Model(code["model"].Config(**MODEL)).eval()
    config, device = code["eval"].Config(**SIZES["eval"]), torch.device("cpu")
    some = whole.splits["test"][:7]
    together = code["eval"].answers(model, whole, some, config, device)
    alone = [code["eval"].answers(model, whole, [q], config, device)[0] for q in some]
    assert together == alone


# A run


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, *line: object) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, line)])
    monkeypatch.chdir(folder)


def test_a_model_of_own_rows_learns_resumes_answers_and_is_scored(
    code: dict[str, ModuleType],
    folder: Path,
    rows: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = ("--out", tmp_path / "out", "--threads", 1)
    run(folder, monkeypatch, "data", "--data", rows)
    code["data"].main()
    shown = capsys.readouterr().out
    assert "questions about" in shown
    assert "what colour is it?" in shown
    steps = ("--steps", 120, "--batch-size", 16, "--learning-rate", 0.01)
    run(folder, monkeypatch, "train", "--data", rows, *own, *steps)
    code["train"].main()
    run(folder, monkeypatch, "eval", "--data", rows, *own)
    capsys.readouterr()
    code["eval"].main()
    report = json.loads(capsys.readouterr().out)
    (score,) = report["metrics"]
    assert score["metric"] == "exact_match"
    assert score["interval_unit"] == "images"
    assert score["value"] > score["baselines"]["commonest answer to the question"]
    assert score["value"] > 0.9
    picture = rows.parent / "pictures/2.png"
    run(folder, monkeypatch, "infer", *own, "--image", picture, "--prompt", ASKED)
    code["infer"].main()
    assert capsys.readouterr().out.strip() == "blue"
    run(folder, monkeypatch, "infer", *own, "--image", picture, "--prompt", "ж" * 99)
    with pytest.raises(SystemExit):
        code["infer"].main()
    assert "fit beside the image" in capsys.readouterr().err


@pytest.mark.slow
def test_the_proxy_beats_the_commonest_answer_to_each_question(tmp_path: Path) -> None:
    beats_its_baselines(SPEC, tmp_path, only="commonest answer to the question")
