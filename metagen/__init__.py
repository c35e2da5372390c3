"""MetaGen: one YAML spec in, a complete and measured model release package out.

The rooms, from base to top; a room imports only from rooms above it in this list
(`tests/test_layers.py` holds it):

===========  =====================================================================
room         what it knows
===========  =====================================================================
errors       what went wrong: a sentence, a place and a next step; exit statuses
paths        where templates, specs and data lie; safe folder names
files        bytes on disk: sha256, atomic writes
programs     other programs: in a scratch folder, none outliving the build
fonts        fonts of this machine, for scripts that other fonts lack
entries      structured files of a package, and their entries by address
workers      files that start many workers on machines of others
work         the contract between a task's work and the engine
units        8B, 16GB, 256k, 120 tok/s, 21 days: text to numbers and back
amounts      2T tokens, 1M sentence pairs: training data in the words people use
spec         the spec language: YAML in, a frozen `Spec` out, at one door
tasks        what is known of each machine-learning task: one file a task
families     what can be built: one file a family, one line a family in the table
package      real Python to self-contained files: the bundler
sizing       dimensions under constraints: architecture.yaml and the verdicts
measure      numbers taken from the generated code, in a subprocess
trained      the trained model, from the folder of its training run
docs         numbers to prose: facts, cards, figures, the paper
filing       what a release must file: records for programs, forms for authorities
release      a trained model as a repository of the Hugging Face Hub
engine       the incremental engine: traces, store, tasks, the two doors to doit
trials       small trainings of a package's own code, of which none runs twice
search       the architecture search over what a spec leaves open
view         a package in a browser on this machine; a spec that is watched
cli          the command line
===========  =====================================================================
"""

__version__ = "0.1.0"
