"""The architecture search: trials of a package's own code, over what its spec leaves open.

============  ==================================================================
shapes        shapes of the scaled-down model, and the full design of each
space         the choices, and what a set of them means
objectives    what is minimized
plan          what a study is: spec, code and settings, in one folder
storage       where its trials lie: a journal, or a database
study         its trials in Optuna's storage, shared by workers
worker        takes trials, trains them, ends those that fall behind
front         the trials as rows, and those that no other beats
bought        what each choice bought, over new seeds
figure        the front as a figure
results       the files that a study leaves
choices       search.yaml as keys of a spec
run           a study from a spec to its results
============  ==================================================================
"""
