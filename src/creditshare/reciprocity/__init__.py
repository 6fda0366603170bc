"""The figures behind a lender's tier, computed once a day by the worker; the rules are in ``members/tiers.py``.

How many borrowers a lender reported and asked about is counted from what stands in clear. Whether its records are fresh
and how often it corrected them stands in sealed events: the worker opens a sample of its records, drawn anew each day,
and keeps counts alone. What was refused of its files is counted as they end, and fades within a year.
"""
