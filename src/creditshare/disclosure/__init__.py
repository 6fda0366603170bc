"""Statistical disclosure control: which numbers of a release may be published, so that the rest stays unknown.

Plain values in, statuses out; what a cell is about, how it is stored and who reads it are others' matters. The terms
are those of the field (Hundepool et al., *Statistical Disclosure Control*, 2012), the statuses sdcTable's:
``u`` primary and ``x`` secondary suppression, ``s`` published, ``z`` zero, published.

**A release is one system.** All its tables are published together, and whoever attacks combines them. Whoever asks
names the relations between its cells, months within years and shared margins among them (``reports/tables.py``);
``protect`` decides over all of it at once, and its ``audit`` says what could be worked back from given statuses.

**Whom it protects.** The borrowers of a small cell (threshold), the business of a single lender in a sum (dominance,
p %), against readers, and against a lender who knows the cells in which it alone has records.

**How.** ::

    counts:  primary (threshold) --> complementary suppression of each relation --> audit of the whole --+
                                     ^------ partners at the least loss, by a linear program ------------+
    sums:    primary = suppressed counts and concentrated sums, then the same

===============  ================================================================================================
``cells``        cell, relation, system; statuses
``rules``        threshold, (n,k)-dominance, p %; protection widths
``pattern``      the growing set of withheld cells, and when one relation by itself is safe
``component``    withheld cells that hang together
``elimination``  exact sparse linear algebra: determined cells, and vectors along which the others can move
``movement``     linear programs that propose such vectors, and partners; a proposal counts where it holds exactly
``audit``        determined, narrow, unproven
``protect``      the loop, and what is published
``retelling``    differencing over time: held slices, thinned series
===============  ================================================================================================

**Zeros are published.** That nobody in a group is in default is no statement about one who is. The price is paid in the
audit: a reader knows that what is withheld is no zero, and that a partner which is zero hides nothing.

**What it does not cover.** What is known from elsewhere, but for a lender's own cells: two lenders together know more,
and one with a part in a withheld cell bounds it by that part. What follows from the choice of partners, whose rule is
known. Inequalities between views beyond their relations: a region has no more records in a month than its industries
have in the year. Groups of withheld cells whose sum follows only from several relations together. Distinct borrowers
add up only where nobody is counted twice; they are protected as if they did.
"""
