"""What one person may not do alone: proposed by one, approved or rejected by another, withdrawn by who made it.

Some kinds take more than one approval, each by another person; whoever rejects one ends it.

A proposal is of a ``Kind``: a row that says what it is about, whose members may propose and approve it, how long it
waits and what carries it out, which is a function of the concept that the kind belongs to (``members`` has its own).
Two persons are two members; nobody is compared by a name that he gives himself. What somebody proposed who may not act
any more is nobody's proposal. An approval repeats the terms: it cannot be won for one thing and used for another.

``rules``       which of the open proposals an approval is for
``service``     proposing, approving, rejecting; the kinds by name
``repository``  the rows with their seals
"""
