"""Bodies as they travel, by subject. Requests are strict and refuse unknown members; responses may grow.

Every request model carries an example that a test sends. ``forms`` has what they are all made of.
"""
