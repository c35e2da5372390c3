"""What builds promise, measured: `python -m tests.properties [PROPERTY...]`.

One module a property, each with `measure(lab) -> Tally`; and what they share:

============  ======================================================================
tally         what a property counted, and the headline
lab           specs, size, chance, folders, progress
values        other values for each leaf key
witness       what each task read and made, noted without the engine's help
mutants       changed copies of metagen's code
counted       builds with counts by formula
stated        what the files of a package state
corruptions   what may be wrong with a training folder and with result files
disturbances  what may happen to files between two builds
inside        builds in this process
outside       builds in processes of their own; faked is what those run
reading       readers of code/runtime/ in this process
============  ======================================================================
"""

# fmt: off
PROPERTIES = (
    "consistent", "traced", "statements", "leaf", "plan", "nulls", "types", "code", "altered",
    "templates",
    "histories",
    "crash", "release_crash", "disk", "concurrency", "edits", "spoiled", "evidence", "corrupted",
    "repro",
    "leaks", "toctou", "lint", "events", "verify", "power", "honest", "bounded", "tables", "dates",
    "strangers", "packages", "shards",
)
# fmt: on
