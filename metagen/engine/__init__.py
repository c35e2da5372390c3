"""The incremental engine: traces decide which tasks run, doit schedules them.

From base to top; a module imports only from modules above it in this table.

==========  ======================================================================
ledger      the record of every task's runs: what was read, what was made
store       outputs by their sha256, and the cache that several out folders share
merge       three-way merges of texts
folder      the files of one run folder: signatures, edits by the user
digest      current digests of metagen's code, its data files and libraries
terminal    what a build reports, as lines or JSON events; exit at Ctrl-C
workspace   the out folder: lock, `.metagen/`, snapshots for the fast path, clean-up
desk        what a task reads, recorded; what it reads past its desk (`--lint`)
graph       the tasks of one package, from its spec
engine      decide, run, record: brings the tasks of one graph up to date
session     one run of doit over the packages of an out folder
statements  typed numbers, and the lines of documents that rest on them
query       dry run, why, impact, diff: questions that change nothing
inventory   what lies in a folder from a stranger, without following or opening anything
verify      a package against its manifest and against a clean build
trace       where a number of a document comes from
commands    doit's own commands that have another answer here
doors       the command line's and `dodo.py`'s way into doit
==========  ======================================================================

A build with nothing to do imports the first seven modules only.
"""
