"""The signed consent receipt: what a lender keeps to show what was registered, and when.

A compact JWS, ``typ`` = ``cs-consent+jwt``, with the members of ISO/IEC TS 27560 that a service which
never knows the person can fill; purposes also as terms of the W3C Data Privacy Vocabulary.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from creditshare.crypto.jws import SigningKey
from creditshare.wire.instants import spell_instant
from creditshare.wire.strict_json import canonical

TYP: Final = "cs-consent+jwt"
SCHEMA: Final = "ISO/IEC TS 27560:2023"
DPV: Final = "https://w3id.org/dpv#"
DPV_PURPOSES: Final[Mapping[str, str]] = {
    "pre_loan": DPV + "CreditChecking",
    "guarantor_check": DPV + "CreditChecking",
    "post_loan_monitoring": DPV + "MaintainCreditRatingDatabase",
    "restructuring": DPV + "CreditChecking",
    "default_reporting": DPV + "MaintainCreditCheckingDatabase",
}


def make_receipt(
    key: SigningKey,
    *,
    issuer: str,
    member_id: str,
    consent_id: str,
    kind: str,
    purposes: Sequence[str],
    scopes: Sequence[str],
    valid_from: datetime,
    valid_until: datetime,
    evidence_digest: str,
    now: datetime,
) -> str:
    """Return the receipt. It holds nothing of the borrower but the digest of the document that the lender keeps."""
    payload = {
        "consent_id": consent_id,
        "evidence_digest": evidence_digest,
        "iat": int(now.timestamp()),
        "iss": issuer,
        "kind": kind,
        "purposes": [{"code": code, "dpv": DPV_PURPOSES[code]} for code in purposes],
        "recipient": member_id,
        "schema": SCHEMA,
        "scopes": list(scopes),
        "valid_from": spell_instant(valid_from),
        "valid_until": spell_instant(valid_until),
    }
    return key.sign({"kid": key.kid, "typ": TYP}, canonical(payload))
