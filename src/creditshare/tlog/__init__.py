"""The log's mathematics: a Merkle tree that anyone can check, in the open C2SP formats.

Bytes and plain values in, values out. Nothing here opens a file, a socket or a database, reads a clock or a setting;
whoever verifies a proof offline needs this folder, ``errors.py`` and ``cryptography``, nothing else.

**The tree.** Leaves are hashed as ``SHA-256(0x00 || entry)`` and pairs as ``SHA-256(0x01 || left || right)``
(RFC 6962 section 2.1, RFC 9162 section 2.1). One root stands for all entries and their order. Two proofs matter: an
*inclusion* proof (this leaf is in the tree of that root) and a *consistency* proof (the larger tree begins with
exactly the smaller one, so nothing was edited or removed).

**Plan, fetch, fold.** The core never looks for a hash itself. It *names* the perfect subtrees it needs
(``merkle.Node``), ``tiles.reads`` says which stored rows hold them, the caller fetches those rows by whatever
means it has, ``tiles.evaluate`` turns rows into node hashes and ``merkle.fold_proof`` or ``merkle.fold_root`` folds
them::

    plan = merkle.inclusion_nodes(index, size)
    wanted = tiles.reads(plan.nodes)
    rows = {read: fetch(read) for read in wanted}
    proof = merkle.fold_proof(plan, tiles.evaluate(plan.nodes, rows))

**What is stored.** Level-0 leaf hashes by index, and for each *full* tile (256 hashes) its hashes and its root. A
partial tile is a slice of rows that are there anyway, so it is rendered, never stored, and nothing is rewritten.

=================  ==============================================================================================
``merkle``         hashes, plans, folding, ``verify_inclusion`` and ``verify_consistency``
``tiles``          tile height 8: which tiles new leaves complete, where a node is read, tile names in URLs
``bundles``        the entries themselves as they travel, 256 to a bundle
``growth``         a tree rebuilt from its leaves, in pieces of any size, for whoever checks a whole log
``note``           signed notes with Ed25519: verifier keys, signing, strict opening
``checkpoint``     the signed tree head: origin, size, root
``cosignature``    what witnesses add to a checkpoint: when they saw it and that it continues what they saw before
``witness``        what a log sends to a witness, and how the witness decides
``proof``          an inclusion proof that travels: JSON and tlog-proof text, verified against its checkpoint
``spelling``       the one spelling of numbers and bytes that the parsers accept
=================  ==============================================================================================

**Errors.** ``Malformed``: bytes from outside do not have the prescribed form. ``VerificationFailed``: the form is
right, the claim does not hold. ``IntegrityError``: rows that the caller's storage handed over are missing or cut.
``ValueError``: the caller asked for a plan that cannot exist (index outside the tree); check a visitor's numbers first.

Left out: cosignatures with ML-DSA-44 (type 0x06), and any policy of how many suffice.
"""
