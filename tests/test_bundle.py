"""The bundler: what it copies, in which order, and what it refuses at which line."""

from __future__ import annotations

import ast
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen.errors import MetagenError
from metagen.package.bundle import bundle
from metagen.package.config import literal

MAIN = "templates/families/toy/model.py"
CONFIG = '''
from dataclasses import dataclass


@dataclass
class Config:
    """Settings."""

    width: int = 1  # a comment that stays
    rate: float = 0.5
    name: str = "x"
    sizes: tuple[int, ...] = (
        1,
        2,
    )
'''


def made(main: str, config: dict[str, object] | None = None, **shared: str) -> str:
    """Return the bundle of a main file, with shared modules given as layers_NAME=text."""
    files = {f"templates/{k.replace('_', '/', 1)}.py": v for k, v in shared.items()}
    files[MAIN] = main
    texts = {name: textwrap.dedent(text).lstrip("\n") for name, text in files.items()}

    def read(name: str) -> bytes:
        if name not in texts:
            raise FileNotFoundError(name)
        return texts[name].encode()

    return bundle(MAIN, read, config).decode()  # type: ignore[arg-type]


def problem(main: str, config: dict[str, object] | None = None, **shared: str) -> str:
    with pytest.raises(MetagenError) as caught:
        made(main, config, **shared)
    return str(caught.value)


def test_a_shared_definition_stands_above_what_needs_it_with_its_comments() -> None:
    text = made(
        """
        from layers.norm import Norm


        def first() -> int:
            return 1


        class Model(Norm):
            pass
        """,
        layers_norm='''
        """Norms."""

        # The reason for this class.
        class Norm:  # beside it
            # Inside it.
            pass
        ''',
    )
    norm = "# The reason for this class.\nclass Norm:  # beside it\n    # Inside it.\n    pass\n"
    assert norm in text
    assert text.index("def first") < text.index("class Norm") < text.index("class Model")
    assert "Norms." not in text
    assert "layers" not in text


def test_only_what_is_needed_is_copied_transitively_and_once() -> None:
    text = made(
        "from layers.a import top\n\n\ndef one():\n    top()\n\n\ndef two():\n    top()\n",
        layers_a="""
        import math
        import os

        from layers.b import deep

        LIMIT = 3


        def helper():
            return math.pi * LIMIT


        def top():
            return helper() + deep()


        def unused():
            return os.name
        """,
        layers_b="def deep():\n    return 2\n\n\ndef other():\n    return 3\n",
    )
    names = [n.name for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)]
    assert names == ["helper", "deep", "top", "one", "two"]
    assert text.startswith("import math\n\nLIMIT = 3\n\n\ndef helper")


def test_imports_merge_into_sorted_sections() -> None:
    text = made(
        '''
        """Doc."""

        from torch import nn
        from model import Model
        from model import Config as ModelConfig
        import torch
        import json
        from layers.a import f


        def main():
            return f, json, torch, nn, Model, ModelConfig
        ''',
        layers_a="""
        import math
        from torch import Tensor
        import torch.nn.functional as F


        def f(x: Tensor):
            return F, math
        """,
    )
    assert text.startswith(
        '"""Doc."""\n\nimport json\nimport math\n\n'
        "import torch\nimport torch.nn.functional as F\nfrom torch import Tensor, nn\n\n"
        "from model import Config as ModelConfig\nfrom model import Model\n\n\ndef f("
    )


def test_only_the_defaults_of_config_change() -> None:
    values = {"width": 7, "rate": 1e-05, "name": "y", "sizes": (3,)}
    before, after = textwrap.dedent(CONFIG).lstrip("\n"), made(CONFIG, values)
    assert "width: int = 7  # a comment that stays" in after
    assert "rate: float = 1e-05" in after
    assert "sizes: tuple[int, ...] = (3,)" in after
    assert before.split("class Config")[0] == after.split("class Config")[0]


SHARED = '''
from dataclasses import dataclass


@dataclass
class Training:
    """What all have."""

    steps: int = 1
    """Updates."""
    # How they go.
    rate: float = 0.5
    """Of learning."""
    seed: int = 0
    """Draws all."""
'''
OWN = '''
from dataclasses import dataclass

from runtime.settings import Training


@dataclass
class Config(Training):
    """Settings."""

    rate: float = 0.1
    """Of these weights."""
    drop: float = 0.0  # of tokens
'''


def test_inherited_fields_are_written_out_in_their_order_and_with_their_explanations() -> None:
    values = {"drop": 0.2, "seed": 3, "rate": 2, "steps": 7}
    text = made(OWN, values, runtime_settings=SHARED)
    assert text.endswith(
        "class Config(Training):\n"
        '    """Settings."""\n\n'
        '    steps: int = 7\n    """Updates."""\n'
        '    rate: float = 2.0\n    """Of these weights."""\n'
        '    seed: int = 3\n    """Draws all."""\n'
        "    drop: float = 0.2  # of tokens\n"
    )
    assert "from runtime.settings import Training\n" in text
    assert made(text, values, runtime_settings=SHARED) == text


def test_a_config_may_have_inherited_fields_only() -> None:
    main = OWN.partition("    rate:")[0].rstrip() + "\n"
    text = made(main, {"steps": 7, "rate": 1, "seed": 3}, runtime_settings=SHARED)
    body = text.partition('"""Settings."""')[2]
    assert body.startswith('\n\n    steps: int = 7\n    """Updates."""\n    # How they go.\n')


def test_a_config_inherits_from_a_class_that_inherits_itself() -> None:
    middle = OWN.replace("class Config(", "class Longer(")
    main = OWN.replace("settings", "longer").replace("Training", "Longer")
    values = {"steps": 7, "rate": 2, "seed": 3, "drop": 0.2}
    text = made(main, values, runtime_settings=SHARED, runtime_longer=middle)
    body = text.partition('"""Settings."""')[2]
    fields = [line.split(":")[0].strip() for line in body.splitlines() if ": " in line]
    assert fields == ["steps", "rate", "seed", "drop"]
    assert "import Training" not in text


@pytest.mark.parametrize(
    ("main", "values", "words"),
    [
        (
            OWN,
            {"drop": 0.1, "rate": 1, "steps": 7},
            "settings.py:13: the field seed of the Config of",
        ),
        (OWN, {"drop": 0.1, "rate": 1, "steps": "7", "seed": 1}, "settings.py:8: the field steps"),
        (OWN, {"drop": "", "rate": 1, "steps": 7, "seed": 1}, f"{MAIN}:12: the field drop"),
        (OWN.replace("(Training)", "(Missing)"), {}, f"{MAIN}:7: Config inherits from Missing"),
        (OWN.replace("Training", "Missing"), {}, "settings.py does not define Missing"),
    ],
)
def test_an_error_in_an_inherited_field_names_the_line_that_defines_it(
    main: str, values: dict[str, object], words: str
) -> None:
    assert words in problem(main, values, runtime_settings=SHARED)


def test_a_whole_number_becomes_a_float_where_the_field_is_one() -> None:
    assert "rate: float = 2.0" in made(CONFIG, {"width": 1, "rate": 2, "name": "", "sizes": ()})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"width": 1, "rate": 1.0, "name": "", "sizes": (), "depth": 2}, "no field depth"),
        ({"width": 1, "rate": 1.0, "name": ""}, "field sizes"),
        ({"width": "1", "rate": 1.0, "name": "", "sizes": ()}, "takes int, not '1'"),
        ({"width": True, "rate": 1.0, "name": "", "sizes": ()}, "takes int, not True"),
        ({"width": 1, "rate": float("nan"), "name": "", "sizes": ()}, "takes float, not nan"),
        ({"width": 1, "rate": 1.0, "name": None, "sizes": ()}, "takes str, not None"),
        ({"width": 1, "rate": 1.0, "name": "", "sizes": ("1",)}, "not ('1',)"),
    ],
)
def test_a_wrong_config_names_file_and_field(config: dict[str, object], words: str) -> None:
    text = problem(CONFIG, config)
    assert words in text
    assert MAIN in text


@given(st.text())
def test_a_string_never_leaves_its_literal(value: str) -> None:
    text = literal(value)
    assert ast.literal_eval(text) == value
    assert text.isascii()
    assert "\n" not in text


@pytest.mark.parametrize(
    "value",
    ['"""', "'''", '"\nimport os\n', "\\", '\\"', "\u2028", "\u202e", "\x00", "${x}", "'\""],
)
def test_a_hostile_string_stays_the_value_of_its_field(value: str) -> None:
    values = {"width": 1, "rate": 0.5, "name": value, "sizes": ()}
    tree = ast.parse(made(CONFIG, values))
    assert len(tree.body) == len(ast.parse(textwrap.dedent(CONFIG)).body)
    namespace: dict[str, object] = {}
    exec(compile(tree, MAIN, "exec"), {"__name__": __name__}, namespace)
    assert namespace["Config"]().name == value  # type: ignore[operator]


@pytest.mark.parametrize(
    ("line", "text", "words"),
    [
        (2, "import json\nfrom layers.a import f as g\n", "alias"),
        (1, "from layers.a import *\n", "each of its names"),
        (1, "from .a import f\n", "each of its names"),
        (1, "import layers.a\n", "as a whole"),
        (1, "import torch.nn\n", "as a whole"),
        (2, "def main():\n    from layers.a import f\n", "inside a block"),
        (4, "from layers.a import f\n\n\ndef main(x: 'f') -> None:\n    pass\n", "hides a name"),
        (2, "class A:\n    x: list['A'] = []\n", "hides a name"),
        (1, "from layers.a import missing\n\nX = missing\n", "does not define missing"),
        (1, "from layers.z import f\n\nX = f\n", "no shared module templates/layers/z.py"),
        (1, "def main(:\n", "not Python"),
        (6, "from layers.a import f\n\nX = f\n\n\ndef f():\n    pass\n", "f clashes with the f of"),
        (2, "from a import x\nfrom b import x\n", "imported twice"),
    ],
)
def test_what_cannot_be_bundled_is_an_error_at_its_line(line: int, text: str, words: str) -> None:
    found = problem(text, layers_a="def f():\n    pass\n")
    assert f"{MAIN}:{line}:" in found
    assert words in found


def test_two_shared_definitions_of_one_name_clash() -> None:
    found = problem(
        "from layers.a import f\nfrom layers.b import g\n\nX = (f, g)\n",
        layers_a="def _h():\n    pass\n\n\ndef f():\n    _h()\n",
        layers_b="def _h():\n    pass\n\n\ndef g():\n    _h()\n",
    )
    assert "templates/layers/b.py:1: _h clashes" in found


def test_a_shared_module_holds_definitions_only() -> None:
    found = problem(
        "from layers.a import f\n\nX = f\n", layers_a="print()\n\n\ndef f():\n    pass\n"
    )
    assert "templates/layers/a.py:1" in found


def test_a_literal_annotation_is_not_a_hidden_name() -> None:
    main = 'from typing import Literal\n\n\ndef f(x: Literal["a"]) -> None:\n    pass\n'
    assert made(main) == main
