"""Access: from a signed request to a ``Caller``, once.

The gate itself is pure (``wire/requests.py``). Here are the table of members' keys that each worker keeps
in memory (``keytable``), the replay guard and idempotency, which live in PostgreSQL and are claimed in
the transaction of the action (``service``), the tally of refusals that are counted, not logged singly, and
the cursors of lists (``cursors``). ``readers`` knows who may read the log where it is not open to
anyone, ``openings`` who may know what an event of it says.
"""
