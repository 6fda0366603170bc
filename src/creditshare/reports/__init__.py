"""What regulators read: counts and sums over sealed records, never a record.

Nothing but ids stands in clear in a record, so the worker opens borrowers one by one and keeps what they add up to.

1. *Counting* (``counting.py``): a borrower that changed waits in ``report_due``; what it adds to each cell now, less
   what it added when it was counted last (``views.py``), goes to the cells as one sealed row of differences
   (``cells.py``). The history is append-only, so what was counted last can always be worked out again. The log's
   events are counted the same way, in the order of their index (``activity.py``).
2. *Telling* (``telling.py``): cells of a period that is closed pass disclosure control and become a told document; it
   is told anew only where nobody can learn from the difference (decision 30).
3. *Reading* (``service.py``): a report is cut from told documents, so that asking costs no opening and filters select
   rows of tables that were protected whole.
"""
