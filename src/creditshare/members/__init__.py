"""Institutions, their keys and their rights.

A member is ``applicant`` (proposed by one operator), in ``due_diligence`` (somebody examines it), ``certified``
(approved by another, waiting for its first key), ``active``, ``limited`` (reports and corrects, does not ask),
``suspended`` (corrects), ``terminated``. What each state allows and what follows on it stands in ``standing``. What
cannot be undone takes two operators (``approvals``; its kinds about members stand in ``service``). Limiting and
suspending take one, because they must be quick; lifting takes two.

Terminated is for good: keys and codes lose their power at once, and get tombstones. What the member reported stays as
it was reported: that a borrower defaulted does not end with the lender's membership. Nobody can correct it in the
lender's name any more; what is wrong in it is the operator's desk's to put right or erase.

``standing``    what a member in which state may do, and which state follows
``service``     membership: proposing, approving, suspending, the first operators
``keys``        members' keys: enrolling, adding, retiring, revoking, and which may sign
``key_table``   what every worker keeps in memory of both
``repository``  the rows with their seals: checked where they decide, sealed anew where they change
"""
