"""`purchase-relay doctor`: walks the whole chain of a deployment, and names what is broken with its remedy.

`walking.py` has the chain; every other room examines a few of its links. None of them changes anything.
"""
