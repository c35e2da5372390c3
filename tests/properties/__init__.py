"""What builds promise, measured: `python -m tests.properties [PROPERTY...]`.

One module a property, each with `measure(lab) -> Tally`; and what they share:

========  ==========================================================================
tally     what a property counted, and the headline
lab       specs, size, chance, folders, progress
values    other values for each leaf key
witness   what each task read and made, noted without the engine's help
inside    builds in this process
outside   builds in processes of their own; faked is what those run
========  ==========================================================================
"""

# fmt: off
PROPERTIES = (
    "leaf", "plan", "nulls", "types", "code", "altered", "templates", "fuzz", "crash", "state",
    "disk", "concurrency", "edits", "spoiled", "revert", "cache", "repro", "move", "mtime",
    "toctou", "lint", "plain", "events", "verify", "power",
)
# fmt: on
