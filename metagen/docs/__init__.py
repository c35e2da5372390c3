"""Documents: numbers to prose, in cards, figures and a paper.

Every number in a document passes through `facts`, and every string of a spec through `escape`.
"""
