"""The spec language: YAML or JSON in, a frozen `Spec` out, at one door.

========  ========================================================================
schema    the keys by name, as a page and as a JSON Schema
table     the table of keys; words, kinds: their allowed values
reader    text to nodes that know their place, within limits
declared  nodes to leaf keys; overrides
door      defaults under file under overrides, references resolved, values typed
checked   the `Spec` that everything above this room reads
========  ========================================================================
"""

from metagen.spec.checked import Spec
from metagen.spec.door import load
from metagen.spec.schema import json_schema, markdown, variables
from metagen.units import nearest

__all__ = ["Spec", "json_schema", "load", "markdown", "nearest", "variables"]
