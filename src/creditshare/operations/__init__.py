"""What an operations team does beside serving: find out what is wrong, take backups, bring them back.

``doctor``     walks the way of a request hop by hop and names the one that fails
``programs``   finds the ``pg_dump`` and ``pg_restore`` that fit a server
``backup``     one consistent dump with a manifest; the keys apart from it
``restoring``  loads a backup into an empty database and proves the log before anything may be served

Nothing here is used while a request is answered.
"""
