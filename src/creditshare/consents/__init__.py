"""Consents: what a borrower let one lender do, for which purposes, with which data, until when.

Two kinds that never stand in for each other: ``provide`` (this lender may report) and ``query`` (this
lender may ask). Revocation takes effect with the very next question; it is not retroactive. Uses are
counted in the transaction that answers, so two parallel questions cannot share the last one.
"""
