"""HTTP for institutions: one routes module per resource, thin.

``exchange`` is the edge: it runs the gate before anything is parsed, opens the one transaction, appends
the event with the digest of exactly the answer's bytes, commits, and signs. ``callers`` shows a route's
right in its signature. ``problems`` alone gives refusals their HTTP status. Request models never leave
this folder.
"""
