"""The bundler: what it copies, in which order, and what it refuses at which line."""

from __future__ import annotations

import ast
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metagen.errors import MetagenError
from metagen.package.bundle import bundle
from metagen.package.literals import literal, set_defaults

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
    source = textwrap.dedent(CONFIG)
    values = {"width": 1, "rate": 0.5, "name": value, "sizes": ()}
    tree = ast.parse(set_defaults(MAIN, source, values))
    assert len(tree.body) == len(ast.parse(source).body)
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
