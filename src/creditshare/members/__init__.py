"""Institutions, their keys and their rights.

A member is ``applicant`` (proposed by one operator), ``certified`` (approved by another, waiting for its
first key), ``active``, ``suspended``. What cannot be undone takes two operators, compared by their member
ids: a proposal row is decided by another member than the one that made it. Suspension takes one, because
it must be quick; lifting it takes two.

``service``     membership: proposing, approving, suspending, the first operators
``keys``        members' keys: enrolling, adding, retiring, revoking, and which may sign
``key_table``   what every worker keeps in memory of both
``repository``  the rows with their seals: checked where they decide, sealed anew where they change
"""
