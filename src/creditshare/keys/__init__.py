"""Key custody: who holds which secret, and how a borrower's key is made, wrapped, cached and destroyed.

A borrower has one data key (DEK). It is stored wrapped by a key-encryption key (KEK) that lives in the
key file, outside the database. From the DEK come, by HKDF (RFC 5869): one key per record (with a
deletable salt), one per other kind of sealed thing, and one for MACs. Destroy the wrapped DEK and all
of it is unreadable, in every backup too once the KEK epoch of that backup is gone.

``keyring``   the key file: sealed by a passphrase or, in a sandbox, 0600
``provider``  the small interface {wrap, unwrap, describe} that a hardware module may implement
``custody``   borrower keys: make, open through a bounded cache, forget
``tombstones``  what stays erased or revoked whatever backup is restored, kept beside the key file
"""
