"""What a member whose membership ended gets back: its own data as it reported them, for its eyes alone.

``service`` reads them: membership and keys, each record with all its events, consents, debt statements, and the list of
its questions (what was answered belongs to others). The file (``wire/handback.py``) is encrypted to a key that the
member named by a signed request, so that whoever hands it over reads nothing of it. It is made on the service's own
machine, where the keys are that open the borrowers' fields (``creditshare member hand-back``).
"""
