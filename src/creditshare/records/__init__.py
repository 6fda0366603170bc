"""Default records: what members reported, sealed, append-only, bitemporal.

A change is a new ``record_event``; nothing is overwritten. ``record_current`` keeps the few clear columns
that a question needs (whose, visible from when, how far in its life) and must equal what the events say,
which every reading checks. Intake rules and the delinquency grid are pure (``rules``, ``grid``).
"""
