"""The audit trail: every action and every authenticated refusal is a leaf of an append-only Merkle log.

An action writes its event in its own transaction (``service.append``); a trigger queues it; the
sequencer (``sequencer``) gives it an index, cuts tiles and signs a checkpoint; ``proofs`` answers where
a leaf is. Leaves hold three salted commitments and nothing of a borrower; what opens them lies in
``audit_opening``, under the borrower's key where it names one, and dies with that key.
All log tables but the queue and the openings are INSERT-only by triggers and grants (``migrations``).
"""
