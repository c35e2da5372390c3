"""A package in a browser on this machine, and builds that follow the spec as it is saved.

======  ======================================================================
pages   what the browser shows: the report with what changed, documents, folders
server  the answers to its requests, on the loopback address alone
watch   a spec, until it is saved or the user ends the program
======  ======================================================================
"""
