"""The incremental engine, and its two doors to doit.

=========  =======================================================================
codedigest digests of metagen's own functions
ledger     the record of what was built from what
store      every output ever made, by its sha256
world      what everything that a task may depend on is right now
desk       the window through which a task's work sees the world
engine     decide, run, place, record: the tasks of one package
package    a spec, its run folder and its recipes
graph      from specs to packages
session    all packages of one out folder during one run of doit
doors      the graph as doit sees it
dodo       what dodo.py needs
=========  =======================================================================
"""
