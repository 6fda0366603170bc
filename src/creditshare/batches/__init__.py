"""Record batches: a member's file of defaults, accepted whole, dealt with by the worker in small transactions.

Accepting stages the rows, sealed under a key of the job's own, in the transaction of the signed request. The worker
takes a few chunks of one job at a time: each row passes the same rules as a single report (``records.submit_many``),
becomes one record and one event, or is named in the error file. The job's position moves in the same transaction, so
that a worker that is killed leaves nothing half done and nothing to repair: the next one begins at the position.
"""
