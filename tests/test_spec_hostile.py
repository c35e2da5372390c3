"""Specs from strangers: nothing runs, nothing leaks, every refusal is cheap and names its place.

Free text that is hostile to a language of the documents stays exactly as it is, because the
documents escape what they print. Everywhere else it is refused.
"""

import os
import time

import pytest
import yaml

from metagen.errors import USAGE, SpecError
from metagen.files import yaml_bytes
from metagen.paths import slug
from metagen.spec import load, reader
from metagen.spec.declared import nested
from metagen.spec.schema import keys

# CPU seconds of a refusal, which takes a fraction of one; a text that expands takes hours.
MOST_SECONDS = 20
HEAD = 'metagen_version: "1.0"\nname: m\n'

PAYLOADS = {
    "a closed docstring": '"""\nimport os; os.system("touch pwned")\n"""',
    "a closed string": "'); __import__('os').system('touch pwned') #",
    "a format string": "{x.__class__.__mro__} %(name)s {{ 7 * 7 }} {% raw %}",
    "LaTeX that reads a file": "\\input{/etc/passwd}",
    "LaTeX that runs a shell": "\\immediate\\write18{touch pwned} ^^5cinput $x_1$ %",
    "a Markdown break": "---\n# fake heading\n[x](javascript:alert(1)) | a | <script>1</script>",
    "a YAML break": "x\nconstraints:\n  memory_budget: 1TB\n- !!python/object:os.system [ls]",
    "a path out": "../../../../etc/cron.d/x",
    "an absolute path": "/etc/passwd",
}
FREE = {
    "name": False, "description": True, "version": False, "task.domain": False,
    "training.data.governance.pii": True, "training.alignment.policy": True,
    "reproducibility.determinism": True, "training.config.noise_schedule": False,
}  # fmt: skip
FREE_LISTS = (
    "authors", "training.data.sources", "training.alignment.method",
    "evaluation.benchmarks", "evaluation.baselines", "evaluation.metrics",
)  # fmt: skip
CLOSED = (
    "metagen_version", "task.type", "task.action_space", "architecture.family", "license",
    "constraints.memory_budget", "constraints.latency", "constraints.throughput",
    "constraints.device", "constraints.context_window", "constraints.parameter_budget.max",
    "training.compute.hardware", "training.compute.duration", "training.data.size",
    "training.config.optimizer", "training.config.learning_rate", "evaluation.bench",
    "reproducibility.seed", "task.num_classes", "constraints.image_size",
)  # fmt: skip
CLOSED_LISTS = ("modality.inputs", "modality.outputs", "training.objective", "outputs.artifacts")


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes leaf keys to a spec in an otherwise empty folder."""
    monkeypatch.chdir(tmp_path)

    def of(**leaves):
        path = tmp_path / "spec.yaml"
        path.write_bytes(yaml_bytes(nested({"metagen_version": "1.0", "name": "m"} | leaves)))
        return path

    return of


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(tmp_path):
    """After every test here, the folder holds the spec and nothing else."""
    yield
    assert {path.name for path in tmp_path.iterdir()} <= {"spec.yaml"}


def refusal(path, *overrides):
    """Return the problems of a spec that must be refused, at the price of little computing."""
    start = time.process_time()
    with pytest.raises(SpecError) as caught:
        load(path, overrides)
    assert time.process_time() - start < MOST_SECONDS
    assert caught.value.status == USAGE
    return caught.value.problems


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
@pytest.mark.parametrize("name", FREE)
def test_free_text_is_exactly_the_text_or_refused_for_its_line_breaks(write, name, payload):
    path = write(**{name: payload})
    if "\n" in payload and not FREE[name]:
        (problem,) = refusal(path)
        assert problem.sentence.startswith(f"{name} has the control character '\\n'")
        return
    spec = load(path)
    assert spec.key(name) == payload
    assert yaml.safe_load(yaml_bytes(spec.tree())) == spec.tree()


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
@pytest.mark.parametrize("name", FREE_LISTS)
def test_an_entry_of_a_list_of_texts_is_exactly_the_text_or_refused(write, name, payload):
    path = write(**{name: ["good", payload]})
    if "\n" in payload:
        (problem,) = refusal(path)
        assert problem.sentence.startswith(f"{name}[1] has the control character '\\n'")
    else:
        assert load(path).key(name) == ("good", payload)


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
@pytest.mark.parametrize("name", CLOSED)
def test_a_key_with_a_vocabulary_or_a_unit_refuses_it_on_one_line(write, name, payload):
    (problem,) = refusal(write(**{name: payload}))
    assert problem.sentence.startswith(f"{name} is {payload!r}"[:60])
    assert "\n" not in problem.sentence
    assert ":" in problem.place.rpartition("spec.yaml")[2]


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
@pytest.mark.parametrize("name", CLOSED_LISTS)
def test_an_entry_of_a_list_with_a_vocabulary_refuses_it(write, name, payload):
    (problem,) = refusal(write(**{name: [payload]}))
    assert problem.sentence.startswith(f"{name}[0] is {payload!r}"[:60])
    assert "\n" not in problem.sentence


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_a_key_that_is_hostile_is_an_unknown_key_on_one_line(write, payload):
    (problem,) = refusal(write(**{"constraints.memory_budget": "1GB", payload.replace(".", ""): 1}))
    assert problem.sentence.startswith("there is no key ")
    assert "\n" not in problem.sentence


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_components_and_dimensions_keep_or_refuse_it(write, payload):
    refusal(write(**{"architecture.dims": {payload: 1}}))
    path = write(**{"architecture.components": [{"name": payload, "type": "x"}]})
    if "\n" in payload:
        refusal(path)
    else:
        assert load(path).key("architecture.components")[0]["name"] == payload


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_the_same_text_as_an_override_is_no_way_in(write, payload):
    path = write()
    (problem,) = refusal(path, f"constraints.device={yaml.safe_dump(payload).strip()}")
    assert problem.place.startswith("override ")
    assert "\n" not in problem.place + problem.sentence
    refusal(path, payload)


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_the_folder_of_a_hostile_name_stays_where_it_belongs(payload):
    assert os.path.basename(slug(payload)) == slug(payload)  # noqa: PTH119
    assert ".." not in slug(payload)


def test_every_text_key_is_tried_above():
    tried = {*FREE, *FREE_LISTS, *CLOSED, *CLOSED_LISTS}
    assert tried <= set(keys())
    assert len(tried) * len(PAYLOADS) > 300


CONTROLS = ["\x00", "\x07", "\x1b[31m", "\x7f", "\x9b", "\u202e", "\u2066", "\u2028", "\t", "\r"]


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
@pytest.mark.parametrize("name", ["name", "description"])
def test_a_control_character_in_a_text_is_refused_and_shown_escaped(tmp_path, name, control):
    head = HEAD if name != "name" else HEAD.partition("\n")[0] + "\n"
    quoted = "".join(f"\\U{ord(c):08x}" if c in CONTROLS or c < " " else c for c in control)
    (tmp_path / "spec.yaml").write_text(head + f'{name}: "a{quoted}b"\n')
    (problem,) = refusal(tmp_path / "spec.yaml")
    assert problem.sentence.startswith(f"{name} has the control character {control[0]!a}")
    assert control[0] not in str(problem)


# Files that are no YAML, or too much of it: the content, the place of the problem, its sentence.
def _bomb():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    return "\n".join(lines).encode()


FILES = {
    "an empty file": (b"", "1:1", "the file is empty"),
    "only a comment": (b"# nothing\n", "1:1", "the file is empty"),
    "only a document mark": (b"---\n...\n", "2:1", "the file is empty"),
    "a word": (b"hello\n", "1:1", "the file is not a mapping of keys"),
    "a list": (b"- name: m\n", "1:1", "the file is not a mapping of keys"),
    "a NUL": (HEAD.encode() + b"description: a\x00b\n", "3:15", "the control character '\\x00'"),
    "an escape": (HEAD.encode() + b"description: \x1b[2J\n", "3:14", "control character '\\x1b'"),
    "Latin-1": (HEAD.encode() + b"description: caf\xe9\n", "3:17", "this is not UTF-8 text"),
    "UTF-16": ("name: m".encode("utf-16"), "1:1", "this is not UTF-8 text"),
    "an image": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "1:1", "this is not UTF-8 text"),
    "two megabytes": (b"#" * 2**21, "", "the file is larger than 1 MiB"),
    "two documents": (HEAD.encode() + b"---\nname: n\n", "3:1", "a second document begins here"),
    "a broken list": (HEAD.encode() + b"authors: [a\n", "4:1", "this is not valid YAML"),
    "a tab as indentation": (b"modality:\n\tinputs: [text]\n", "2:1", "this is not valid YAML"),
    "a wrong version": (b"%YAML 3.0\n---\nname: m\n", "1:1", "this is not valid YAML"),
    "an alias bomb": (_bomb(), "", "this has more than 5,000 values, including those of aliases"),
    "an alias of itself": (b"name: &a [*a]\n", "1:11", "*a refers to no anchor above it"),
    "an unknown alias": (b"name: *b\n", "1:7", "*b refers to no anchor above it"),
    "deep lists": (b"name: " + b"[" * 500_000, "1:22", "this is nested deeper than 16 levels"),
    "deep mappings": (b"{a: " * 200_000, "", "this is nested deeper than 16 levels"),
    "deep indentation": (b"- " * 500_000, "", "this is nested deeper than 16 levels"),
    "deep aliases": (
        b"a: &a [[[[[[[[[x]]]]]]]]]\nb: &b [[[[[[[[[*a]]]]]]]]]\n",
        "2:16",
        "nested deeper than 16",
    ),
    "a long list": (b"name: [" + b"a," * 500_000 + b"]", "", "has more than 5,000 values"),
    "many keys": (b"".join(b"k%d: 1\n" % i for i in range(90_000)), "", "more than 5,000 values"),
    "many documents": (b"---\n" * 200_000, "2:1", "a second document begins here"),
    "a long key": (HEAD.encode() + b"k" * 1000 + b": 1\n", "3:1", "there is no key 'kkkk"),
    "a long word": (b"name: " + b"x" * 10**6, "1:7", "name has 1000000 characters; allowed"),
    "many digits": (HEAD.encode() + b"task: {num_classes: " + b"9" * 10**6 + b"}", "3:21",
                    "task.num_classes is '9999"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "at", "sentence"), FILES.values(), ids=FILES)
def test_a_file_that_is_no_spec_is_refused_after_few_nodes(
    tmp_path, monkeypatch, content, at, sentence
):
    events, following = [], reader._Parser._next
    monkeypatch.setattr(reader._Parser, "_next", lambda self: events.append(1) or following(self))
    path = tmp_path / "spec.yaml"
    path.write_bytes(content)
    problem = next(p for p in refusal(path) if sentence in p.sentence)
    assert len(events) <= 2 * reader.MOST_NODES + 4  # a node has a start and often an end
    assert problem.place.startswith(f"{path}:{at}" if at else str(path))
    assert len(problem.sentence) < 2500


TAGS = [
    "!!python/object/apply:os.system ['touch pwned']", "!!python/name:os.system ''",
    "!!python/object/new:subprocess.Popen [[touch, pwned]]", "!!python/module:os ''",
    "!!python/tuple [a]", "!!binary aGk=", "!!timestamp 2024-01-01", "!!set {a}", "!!omap [a: b]",
    "!include /etc/passwd", "!env HOME", "!<tag:yaml.org,2002:python/none> ''",
]  # fmt: skip


@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_is_refused_where_it_stands(tmp_path, tag):
    (tmp_path / "spec.yaml").write_text(f"{HEAD}description: {tag}\n")
    problem = refusal(tmp_path / "spec.yaml")[0]
    assert problem.place.endswith("spec.yaml:3:14")
    assert "is not read; leave it out" in problem.sentence


SECRETS = [
    "${oc.env:METAGEN_SECRET}", "${env:METAGEN_SECRET}", "${oc.env:METAGEN_SECRET,x}",
    "a${oc.env:METAGEN_SECRET}b", "${oc.decode:${oc.env:METAGEN_SECRET}}", "${oc.dict.keys:name}",
    "${oc.create:{a:1}}", "${oc.select:name}", "${file:/etc/passwd}",
    "\\\\${oc.env:METAGEN_SECRET}",
    "${${oc.env:METAGEN_SECRET}}", "$${oc.env:METAGEN_SECRET}",
]  # fmt: skip


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("name", ["name", "description", "authors", "architecture.dims"])
def test_the_environment_and_the_disk_are_never_read(write, monkeypatch, name, secret):
    monkeypatch.setenv("METAGEN_SECRET", "leaked")
    value = {"authors": [secret], "architecture.dims": {"a": secret}}.get(name, secret)
    (problem,) = refusal(write(**{name: value}))
    assert "only ${section.key}" in problem.sentence
    assert "leaked" not in str(problem)
    (problem,) = refusal(write(), f"version='{secret}'")
    assert "leaked" not in str(problem)


def test_a_pipe_does_not_hang_the_door(tmp_path):
    os.mkfifo(tmp_path / "spec.yaml")
    (problem,) = refusal(tmp_path / "spec.yaml")
    assert "there is no such file" in problem.sentence


@pytest.mark.parametrize(
    ("one", "other"),
    [("模型甲", "模型乙"), ("tiny", "Tiny"), ("a b", "a_b"), ("é", "e"), ("x" * 64, "x" * 65)],
)
def test_names_that_differ_have_folders_that_differ(one, other):
    assert slug(one) != slug(other)
    assert [slug(slug(name)) for name in (one, other)] == [slug(one), slug(other)]
    assert max(len(slug(one)), len(slug(other))) <= 64


@pytest.mark.parametrize(("name", "text"), [("constraints.device", "con\u017fumer_gpu"),
                                            ("constraints.device", "H100-80GB-\u017fXM"),
                                            ("license", "i\u017fc")])  # fmt: skip
def test_a_letter_that_only_folds_to_a_word_is_no_spelling_of_it(write, name, text):
    assert len(refusal(write(**{name: text}))) == 1


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a: {name: x}\nb: [name, y]\nname: mine\n", "mine"),
        ("name: 'it''s'\nrest: [\n", "it's"),
        ("name: [x]", ""),
        ("- name\n- x\n", ""),
        ("other: name\nmore: x\n", ""),
        ("", ""),
        ("a: &a [name, x]\nb: *a\nname: *a\n", ""),
        ("[" * 5000, ""),
        ("\x00", ""),
        ('{"b": {"name": 1}, "name": "json"}', "json"),
    ],
)
def test_a_key_at_the_top_is_found_without_loading(text, name, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    assert reader.of_top(path, "name") == name
    assert reader.of_top(tmp_path / "none.yaml", "name") == ""
