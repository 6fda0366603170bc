"""Warrants: how a regulator comes to read about one borrower, for a reason, for a time, by two other people's word.

A regulator searches nothing: it evaluates no token, and names its borrower by the id of a record, question or consent
that a lender, a court or the borrower gave it. It asks (that is the one thing it ever writes about others, and nothing
happens by it); two different operators approve it by repeating every term; then it reads, for as long as the warrant
lives, what a lender would be told, with exact amounts and the furnishing lenders' names, or who asked when for what.
Never an identifier, a token or an account. One operator ends it at once; so does the regulator's suspension.

What a warrant says is sealed under the borrower's key and dies with it, as do the events of its readings, whose subject
the borrower is: its footprint. That there was a warrant, whose and until when, outlasts the borrower.

``rules``       what may be asked for, and what a warrant is at an instant
``service``     asking, approving, ending, reading
``repository``  the rows with their seals
"""
