"""Readers of files with results, one for each form; each has `fits(content)` and `read(...)`.

===============  ==========================================================================
own              scores.json and the report of a package's own eval.py
lm_eval          EleutherAI's lm-evaluation-harness
lighteval        Hugging Face's lighteval
inspect_ai       Inspect of the UK AI Security Institute
every_eval_ever  the exchange format Every Eval Ever
plain            a JSON file for everything else, docs/results.md
===============  ==========================================================================
"""

from __future__ import annotations

from types import ModuleType

from metagen.trained.readers import every_eval_ever, inspect_ai, lighteval, lm_eval, own, plain

READERS: tuple[ModuleType, ...] = (own, every_eval_ever, inspect_ai, lighteval, plain, lm_eval)
