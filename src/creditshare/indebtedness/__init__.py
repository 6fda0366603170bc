"""What a borrower owes to all lenders together: the 20 % test that no bank can run alone.

If more than 20 % of a non-retail debtor's debt at all banks is more than 90 days overdue, each bank has to class what
it has of it as non-performing (商业银行金融资产风险分类办法, 2023). Records hold defaults only, so lenders *state*
what a borrower owes them at a month's end and how much of it is overdue; the *test* tells one bit about the sum, and a
band of how many of the lenders it rests on.

Nobody works back another's balance from it, because there is only one answer to be had: for the month that closed last,
from what was stated before its cut-off, the same for whoever asks and however often, and none where no more than three
lenders stated a debt (decision 32). ``rules`` is all of that, pure.
"""
