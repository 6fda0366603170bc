"""What a sandbox may and production must not: moving business time forward.

Business time is the database's clock plus one number in one row, which the SQL function ``creditshare_now``
adds. So all workers agree in the very statement that asks for the time, a restart forgets nothing, and the
row's own trigger keeps it from going back. It moves what the rules judge: notice windows, consents, legal
dates, budgets of the day. It does not move what protects the exchange: signatures, keys, enrolment codes,
replay and idempotency live by the machine's clock.

In production the route does not exist, and a database whose clock was ever advanced refuses to serve.
"""
