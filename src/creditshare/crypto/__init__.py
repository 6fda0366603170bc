"""Pure cryptography: bytes in, values out. No files, sockets, clocks or settings; randomness is passed in.

``jws`` is the fence around python-jose; ``oprf`` and ``p256`` make blind tokens (RFC 9497); ``sealing`` is
CSE-1; ``encoding`` and ``digests`` have one valid spelling per value.
"""
