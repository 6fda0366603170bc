"""Notice before a negative record (征信业管理条例 art. 15): from which instant may a record be seen?

First form: the lender attests in the record itself when and how it told the borrower. The record is
``pending_notice`` until the jurisdiction's window has ended, and visible from then on without anyone
acting, because the instant is computed and stored with the record. Window lengths come from the policy
table. Attested notices are not proof; the digest of the notice is kept so that it can be asked for.
"""
