"""Score a checkpoint on the test split: how many answers are exactly right.

    python eval.py                                      the checkpoint that train.py wrote to `out`
    python eval.py --size full --data my/rows.jsonl     the full model, on your questions

Prints JSON on stdout, and keeps it in OUT/scores.json. No other script reads the test split. Case
and blanks around an answer do not count.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from data import Config as DataConfig
from data import Question, Questions, load_questions, pixels_of
from model import Config as ModelConfig
from model import Model, generate
from runtime.components import Components
from runtime.errors import run
from runtime.objects import Objects
from runtime.questions import PROMPTS, Textures, answer_to
from runtime.report import Report, metric
from runtime.scenes import Scene
from runtime.scores import Mean, Samples
from runtime.scripts import Setting, Trained, scoring

SMALL = 16  # pixels of a side at which images are compared
FITTED = 200  # training scenes on which components are fitted
SHOWN = 8  # images of the figure
LONGEST = 60  # characters of a text of the figure


@dataclass(frozen=True)
class Config:
    """How the test split is scored."""

    batch_size: int = 16
    """Questions answered at once."""
    max_new_tokens: int = 32
    """Largest number of tokens of an answer."""
    baseline_questions: int = 20000
    """Training questions that the baselines read, taken from the start."""


def plain(answer: str) -> str:
    """Return an answer as it is compared."""
    return " ".join(answer.casefold().split())


def answers(
    model: Model,
    whole: Questions,
    some: Sequence[Question],
    config: Config,
    device: torch.device,
) -> list[str]:
    """Return the model's answer to each question."""
    prompts, made = whole.prompts(some), [""] * len(some)
    # Prompts of one length are answered together, so that no padding lies before an answer.
    lengths = defaultdict(list)
    for place, prompt in enumerate(prompts):
        lengths[len(prompt)].append(place)
    for places in lengths.values():
        for start in range(0, len(places), config.batch_size):
            part = places[start : start + config.batch_size]
            images = whole.images([some[place] for place in part]).to(device)
            tokens = torch.tensor([prompts[place] for place in part], device=device)
            end = whole.tokenizer.end_of_text
            drawn = generate(model, images, tokens, config.max_new_tokens, end).tolist()
            for place, row in zip(part, drawn, strict=True):
                made[place] = whole.tokenizer.decode(row[: row.index(end)] if end in row else row)
    return made


class Prior:
    """Answers without the image: the commonest to the same question in training, or of all."""

    def __init__(self, train: Sequence[Question]) -> None:
        self.common = Counter(plain(q.answer) for q in train).most_common(1)[0][0]
        by_prompt: dict[str, Counter[str]] = defaultdict(Counter)
        for q in train:
            by_prompt[plain(q.prompt)][plain(q.answer)] += 1
        self.by_prompt = {each: found.most_common(1)[0][0] for each, found in by_prompt.items()}

    def __call__(self, question: Question) -> str:
        """Return the answer to a question."""
        return self.by_prompt.get(plain(question.prompt), self.common)


def nearest(
    whole: Questions, train: Sequence[Question], test: Sequence[Question], prior: Prior
) -> list[str]:
    """Return, for each question, the answer to the same one about the most similar image.

    That is the nearest by the squares of differences of small grey pixels; where training never
    asks the question, the answer is the prior's.
    """
    known, asked = _small(whole, train), _small(whole, test)
    by_prompt: dict[str, list[int]] = defaultdict(list)
    for place, q in enumerate(train):
        by_prompt[plain(q.prompt)].append(place)
    found = []
    for q, pixels in zip(test, asked, strict=True):
        places = by_prompt.get(plain(q.prompt))
        if places is None:
            found.append(prior(q))
            continue
        apart = (known[places] - pixels).square().sum(1)
        found.append(plain(train[places[int(apart.argmin())]].answer))
    return found


def _small(whole: Questions, some: Sequence[Question]) -> torch.Tensor:
    """Return the images of questions in small and grey, (N, SMALL * SMALL)."""
    made: dict[str, torch.Tensor] = {}
    for q in some:
        if q.name not in made:
            pixels = pixels_of(q.image, whole.model.image_size, whole.model.num_channels)
            grey = pixels.float().mean(0)[None, None] / 255
            made[q.name] = F.interpolate(grey, (SMALL, SMALL), mode="area").flatten()
    return torch.stack([made[q.name] for q in some])


def rules(train: Sequence[Question], test: Sequence[Question]) -> list[str]:
    """Return the answers of rules that know the bundled questions.

    They read off the count, the places and the sizes of connected components; the nearest training
    digit names each, and patterns of pixels name the texture.
    """
    scenes = {q.name: q.image for q in train if isinstance(q.image, Scene)}
    fitted = [*scenes.values()][:FITTED]
    components = Components.fitted([(_image(scene), _objects(scene)) for scene in fitted])
    textures = Textures([s.pixels for s in fitted], [s.texture for s in fitted])
    read: dict[str, tuple[Any, ...]] = {}
    made = []
    for q in test:
        assert isinstance(q.image, Scene)
        if q.name not in read:
            found = components.find(_image(q.image))
            texture = textures.of(q.image.pixels)
            read[q.name] = found.boxes.numpy(), found.classes.numpy(), texture
        made.append(answer_to(q.kind, q.prompt, *read[q.name]))
    return made


def _image(scene: Scene) -> torch.Tensor:
    return torch.from_numpy(scene.pixels)[None]


def _objects(scene: Scene) -> Objects:
    boxes, classes = torch.from_numpy(scene.boxes), torch.from_numpy(scene.classes)
    return Objects(boxes, classes, torch.zeros(len(classes), dtype=torch.bool))


def metrics(
    test: Sequence[Question], own: Sequence[str], others: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Return the share of exact answers of all questions, and of each kind of bundled ones."""
    rows = [_metric("exact_match", "exact answers", test, own, others)]
    for kind in PROMPTS:
        places = [place for place, q in enumerate(test) if q.kind == kind]
        if places:
            some = [test[place] for place in places]
            parts = {n: [each[place] for place in places] for n, each in others.items()}
            mine = [own[place] for place in places]
            name, title = f"exact_match_{kind}", f"exact answers ({kind})"
            rows.append(_metric(name, title, some, mine, parts))
    return rows


def _metric(
    name: str,
    title: str,
    test: Sequence[Question],
    own: Sequence[str],
    others: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    def right(answers: Sequence[str]) -> Mean:
        pairs = zip(answers, test, strict=True)
        return Mean([plain(answer) == plain(q.answer) for answer, q in pairs])

    numbers: dict[str, int] = {}
    groups = [numbers.setdefault(q.name, len(numbers)) for q in test]
    samples = Samples("questions", len(test), np.asarray(groups), "images")
    baselines = {each: right(answers) for each, answers in others.items()}
    return metric(name, "share", right(own), baselines, samples, title=title, higher_is_better=True)


def figure(whole: Questions, test: Sequence[Question], own: Sequence[str]) -> dict[str, Any]:
    """Return images with a question each, the right answer and the model's."""
    shown: dict[str, dict[str, Any]] = {}
    # A question of another kind is shown of each image, as far as they go.
    for place in range(0, len(test), max(1, len(test) // SHOWN)):
        q = test[place]
        if len(shown) < SHOWN and q.name not in shown:
            pixels = pixels_of(q.image, whole.model.image_size, whole.model.num_channels)
            grey = pixels.float().mean(0).round().to(torch.uint8).numpy()
            texts = {"prompt": q.prompt, "right": q.answer, "answer": own[place]}
            shown[q.name] = {
                "pixels": [row.tobytes().hex() for row in grey],
                **{name: text[:LONGEST] for name, text in texts.items()},
            }
    return {"kind": "visual_question_answering", "images": [*shown.values()]}


def report(trained: Trained[Config, DataConfig, ModelConfig]) -> Report:
    """Score a checkpoint on every question of the test split."""
    config = trained.config
    whole = load_questions(trained.data, trained.args.data, trained.model, trained.folder)
    model = trained.load(lambda: Model(trained.model))
    train, test = whole.splits["train"][: config.baseline_questions], whole.splits["test"]
    own = answers(model, whole, test, config, trained.device)
    prior = Prior(train)
    others: dict[str, Sequence[str]] = {
        "commonest answer": [prior.common] * len(test),
        "commonest answer to the question": [prior(q) for q in test],
        "nearest image": nearest(whole, train, test, prior),
    }
    if test[0].kind:
        others["components and rules"] = rules(train, test)
    rows = metrics(test, own, others)
    drawn = figure(whole, test, own)
    return Report(whole.name, whole.sha256, len(test), rows, drawn, n_unit="questions")


main = scoring(
    __doc__,
    (Config, DataConfig, ModelConfig),
    report,
    data="the data that train.py read (default: bundled scenes)",
    settings={
        "batch_size": Setting("questions answered at once"),
        "max_new_tokens": Setting("largest number of tokens of an answer"),
    },
)

if __name__ == "__main__":
    run(main)
