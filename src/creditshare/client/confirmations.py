"""What was confirmed on a page, checked from the opening of its event: leaf, document, passkey."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from creditshare.crypto.digests import sha256_b64url
from creditshare.crypto.encoding import b64url_decode
from creditshare.errors import Malformed, VerificationFailed
from creditshare.wire.confirmation import Confirmation, check
from creditshare.wire.leaf import commit, parse_leaf
from creditshare.wire.strict_json import decode_object


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What a person confirmed, and by which passkey; the event in which a key signed for that one names its digest."""

    confirmation: Confirmation
    passkey: str


def check_opening(opening: Mapping[str, Any], *, issuer: str) -> Confirmed:
    """Check that a leaf commits to this evidence, and that the evidence holds; or raise.

    ``opening`` is what ``GET /audit/v1/events/{id}/opening`` answers to who acted.
    """
    try:
        leaf = parse_leaf(str(opening["leaf"]).encode())
        body = opening["groups"]["body"]
        salt, payload, request = b64url_decode(body["salt"]), str(body["payload"]).encode(), str(body["request"])
    except (KeyError, TypeError):
        raise Malformed("an opening has a leaf and a body with salt, payload and request") from None
    if commit("body", salt, payload) != leaf.c_body:
        raise VerificationFailed("the leaf does not commit to this opening")
    if decode_object(payload)["rqh"] != sha256_b64url(request.encode()):
        raise VerificationFailed("the opening is not of this evidence")
    confirmed, passkey = check(request, issuer=issuer)
    return Confirmed(confirmed, passkey)
