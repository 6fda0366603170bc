"""A witness of logs: an independent program that members and regulators run (C2SP tlog-witness).

It keeps, for each log that it was told to trust, the newest checkpoint it cosigned, and cosigns another only with a
proof that the log grew from there. So nobody can be shown another past than the one that it saw. Knows ``tlog`` and
nothing of the service.

``folder``   its key, the logs it trusts and what it holds, in a folder of its own
``server``   the two things it answers over HTTP
"""
