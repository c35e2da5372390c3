"""The verdicts on the measured model, one file a kind of constraint."""
