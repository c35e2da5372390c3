"""Small sizes of a model on the user's data, and the loss of the full one that they forecast.

============  ==================================================================
law           loss against size: the fit, its uncertainty, the forecast; numbers only
sizes         the full model's plan, the rungs below it, and their batch and rate
study         what is trained: tuning, rungs with their seeds, and the checks
climb         a ladder from its plan, with its cost, to its law
forecast      forecast.json: registered before the full run, never replaced silently
check         the forecast beside the loss of the trained model
report        the lines that are printed
results       ladder.json, ladder.md and the figure
picture       loss against operations: rungs, band and forecast
============  ==================================================================
"""
