"""Storage: one PostgreSQL, its engine and sessions, and the embedded server for laptops and tests.

Knows nothing of credit. ``metadata`` names constraints, ``engine`` opens reading and writing sessions
(two types, so that a function's signature says whether it may change anything), ``embedded`` runs a
real PostgreSQL out of a wheel, ``schema`` runs the migrations.
"""
