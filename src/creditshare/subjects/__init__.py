"""Subjects: from a blind token to a random id, the borrower's key, and the version that every write bumps.

The service never sees an identifier. A token is a group element that only the tokeniser's key could have
made from one; its keyed hash is looked up in ``subject_index``, and all else refers to the random
``subject_id``. ``tokeniser`` is the oblivious function itself, its own part so that it can run apart.
"""
