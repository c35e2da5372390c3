"""The incremental engine: traces decide which tasks run, doit schedules them.

From base to top; a module imports only from modules above it in this table.

==========  ======================================================================
ledger      the record of every task's runs: what was read, what was made
store       outputs by their sha256
merge       three-way merges of texts
signatures  stat signatures, which tell that a file need not be read again
large       files too large to load: linked, copied or moved into place
folder      the files of one run folder: signatures, edits by the user
memory      a run folder as a build would leave it, for dry runs
digest      current digests of metagen's code, its data files and libraries
bars        progress bars, which leave their line to what is printed
terminal    what a build reports, as lines or JSON events; exit at Ctrl-C
workspace   the out folder: lock, `.metagen/`, snapshots for the fast path, clean-up
cache       runs and outputs that several out folders share; those in a folder
remote      those on a server, over HTTP
causes      why a task runs
binding     the training folder and the results that are bound to a package
training    the files of these, read without following anything
lint        what a task reads past its desk (`--lint`)
desk        what a task reads, recorded
graph       the tasks of one package, from its spec
full        the training of the full model as a task of the build
engine      decide, run, record: brings the tasks of one graph up to date
session     one run of doit over the packages of an out folder
statements  typed numbers, and the lines of documents that rest on them
changes     what changed in a package since the build before
query       dry run, why, impact, diff: questions that change nothing
inventory   what lies in a folder from a stranger, without following or opening anything
verify      a package against its manifest and against a clean build
trace       where a number of a document comes from
commands    doit's own commands that have another answer here
doors       the command line's and `dodo.py`'s way into doit
==========  ======================================================================

A build with nothing to do imports the first eleven modules only.
"""
