"""CSR-1 requests: making the signed token, and the gate that a received one must pass.

The gate has two steps, because the key is looked up between them and that may wait for a reload:

``parse``         needs nothing but the request: size → three segments → base64url → header JSON → header's members
``authenticate``  needs the key found under ``kid``: signature → key state → payload JSON → claims → body digest

Whoever holds an ``Authenticated`` knows that all of it was good; any ``Refused`` from here means *not authenticated*:
count it, record nothing, use up nothing. Replay (one ``jti`` once) and rights are decided later, against the database.
Both steps are pure: the time, the key and the configured public address are passed in.

====================  =====================================================================================
code                  refused because
====================  =====================================================================================
token_missing         no ``Authorization``; a scheme other than Bearer (any case, RFC 9110 section 11.1); no token
token_malformed       two or more ``Authorization``; more than 8192 characters, 4096 bytes of payload; not three
                      segments; not canonical base64url (padding, whitespace, other characters, trailing bits);
                      header or payload not strict JSON (byte order mark, name twice, NaN, infinity, an integer
                      beyond ±(2**53 - 1)) or not an object; ``iat``, ``exp`` or ``nbf`` not an integer; ``sub``,
                      ``jti`` or ``ver`` not of the prescribed form
header_not_allowed    any header member beyond ``alg``, ``typ``, ``kid`` (crit, b64, jku, jwk, x5u, x5c, zip, cty …)
alg_not_allowed       ``alg`` missing or not in the table of algorithms, whatever its type
typ_mismatch          ``typ`` missing or not exactly ``cs-req+jwt``
signature_invalid     ``kid`` missing or not the shape of a thumbprint; unknown; its key pending; signature wrong;
                      ``iss`` not the member that owns ``kid``. One answer for all, so that nobody can list keys
key_revoked           signature good, key revoked
key_expired           signature good, key expired (state or date)
claim_missing         iss, sub, aud, iat, exp, jti, htm, htu or ver absent; ``cdg`` absent although there is a body;
                      ``htq`` absent although there is a query. ``extra.claim`` names it
aud_mismatch          ``aud`` is anything but the issuer as one string
token_not_yet_valid   ``iat`` or ``nbf`` more than ``skew`` ahead
lifetime_too_long     ``exp`` more than 120 s after ``iat``
token_expired         ``exp`` passed ``skew`` or more ago, or not after ``iat``
method_mismatch       ``htm`` is not the request's method in upper case
uri_mismatch          ``htu`` is not issuer + raw path; or the path has ``%``, ``//``, a ``.`` or ``..`` segment, or
                      a character that RFC 3986 does not allow in a path
query_mismatch        ``htq`` is not the raw query's hash, or present without a query
header_mismatch       ``idk`` / ``ifm`` is not exactly the header's value, or only one of the two is there
unsupported_media_type  ``Content-Encoding`` other than identity (RFC 9110 section 15.5.16)
digest_mismatch       ``cdg`` is not the one spelling of the body's digest, or present without a body
====================  =====================================================================================

The three time refusals carry ``extra.server_time``, in seconds. Unknown payload claims are ignored: RFC 7519 section 4
says they MUST be where a profile does not say otherwise, a member's own tracing claim harms nobody, and every claim
that could change the meaning of a request is checked here. Unknown *header* members are refused, because they can
change how a token is to be verified.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal

from creditshare.crypto.digests import content_digest, parse_content_digest, sha256_b64url
from creditshare.crypto.encoding import b64url_encode
from creditshare.crypto.jws import ALGORITHMS, Compact, SigningKey, VerifyingKey, split
from creditshare.errors import Malformed, Refused
from creditshare.wire.strict_json import canonical, decode_object

TYP: Final = "cs-req+jwt"
VERSION: Final = "1"
MAX_TOKEN: Final = 8192
MAX_PAYLOAD: Final = 4096
MAX_LIFETIME: Final = 120
SKEW: Final = 30

_SCHEME: Final = b"bearer"
_HEADER_MEMBERS: Final = frozenset({"alg", "typ", "kid"})
_ALWAYS: Final = ("iss", "sub", "aud", "iat", "exp", "jti", "htm", "htu", "ver")
_KID: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_SUB: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_JTI: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")
# RFC 3986 section 3.3 without percent-encoding: segments of pchar, none empty but the last, none "." or "..".
_PATH: Final = re.compile(rb"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~!$&'()*+,;=:@-]+)*/?")

KeyState = Literal["pending", "active", "retiring", "revoked", "expired"]


@dataclass(frozen=True, slots=True)
class RequestClaims:
    """The claims of a CSR-1 request. Times are whole seconds since 1970; None where a conditional claim is absent."""

    iss: str
    sub: str
    aud: str
    iat: int
    exp: int
    jti: str
    htm: str
    htu: str
    nbf: int | None = None
    htq: str | None = None
    cdg: str | None = None
    idk: str | None = None
    ifm: str | None = None
    ver: str = VERSION


@dataclass(frozen=True, slots=True)
class Received:
    """What came over the wire, untouched: raw path and query, header values as bytes, the body as received.

    ``authorization`` holds the value of every ``Authorization`` header; the last three are None where not sent.
    With ``body_follows`` the body is too large to be held: it is read only after the gate, and whoever reads it
    compares it with the claim ``cdg`` by ``check_digest`` before using any of it.
    """

    method: str
    raw_path: bytes
    raw_query: bytes
    authorization: tuple[bytes, ...] = field(repr=False)
    body: bytes = field(repr=False)
    idempotency_key: bytes | None = None
    if_match: bytes | None = None
    content_encoding: bytes | None = None
    body_follows: bool = False


@dataclass(frozen=True, slots=True)
class RegisteredKey:
    """A row of the key table: which member owns the key, and whether it may sign. ``expires_at`` in seconds."""

    kid: str
    member_id: str
    key: VerifyingKey
    state: KeyState
    expires_at: int


@dataclass(frozen=True, slots=True)
class Unverified:
    """A token of the right form whose signature nobody has checked: good for looking up ``kid``, for nothing else."""

    kid: str
    compact: Compact = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A request whose signature, key, claims and body digest are all good.

    ``token_bytes`` is the JWS as received, for the evidence; ``rqh`` is base64url(SHA-256) of it.
    """

    claims: RequestClaims
    token_bytes: bytes = field(repr=False)
    rqh: str
    kid: str


def sign_request(
    key: SigningKey,
    *,
    issuer: str,
    member_id: str,
    sub: str,
    method: str,
    path: str,
    query: bytes = b"",
    body: bytes = b"",
    iat: int,
    lifetime: int = 60,
    jti: str,
    idempotency_key: str | None = None,
    if_match: str | None = None,
) -> str:
    """Return the compact JWS for ``Authorization: Bearer``.

    ``issuer`` is the service's public address without trailing slash, ``path`` and ``query`` exactly as they will be
    sent (the query without ``?``), ``iat`` in seconds, ``lifetime`` 1 to 120 seconds, ``idempotency_key`` and
    ``if_match`` the raw header values. Raises ``Malformed`` for what the gate would refuse in any case.
    """
    _check_signable(sub=sub, method=method, path=path, lifetime=lifetime, jti=jti)
    claims: dict[str, object] = {
        "iss": member_id,
        "sub": sub,
        "aud": issuer,
        "iat": iat,
        "exp": iat + lifetime,
        "jti": jti,
        "htm": method,
        "htu": issuer + path,
        "ver": VERSION,
    }
    if query:
        claims["htq"] = sha256_b64url(query)
    if body:
        claims["cdg"] = content_digest(body)
    if idempotency_key is not None:
        claims["idk"] = idempotency_key
    if if_match is not None:
        claims["ifm"] = if_match
    payload = canonical(claims)
    if len(payload) > MAX_PAYLOAD:
        raise Malformed("the claims are too long")
    return key.sign({"typ": TYP, "kid": key.kid}, payload)


def parse(received: Received) -> Unverified:
    """First step: check all that needs no key, cheap before dear. Raises ``Refused``."""
    token = _bearer_token(received.authorization)
    try:
        compact = split(token, max_token=MAX_TOKEN, max_payload=MAX_PAYLOAD)
    except Malformed as error:
        raise Refused("token_malformed") from error
    return Unverified(kid=_kid_of(compact.header), compact=compact)


@lru_cache(maxsize=4096)
def _kid_of(protected: bytes) -> str:
    """Return the key that a header names. A member's header is the same each time; what is refused is not kept."""
    try:
        header = decode_object(protected)
    except Malformed as error:
        raise Refused("token_malformed") from error
    if not header.keys() <= _HEADER_MEMBERS:
        raise Refused("header_not_allowed")
    # JSON may hold a list here, which cannot be looked up in a table.
    alg = header.get("alg")
    if not isinstance(alg, str) or alg not in ALGORITHMS:
        raise Refused("alg_not_allowed")
    if header.get("typ") != TYP:
        raise Refused("typ_mismatch")
    kid = header.get("kid")
    if not isinstance(kid, str) or _KID.fullmatch(kid) is None:
        # The same answer as for an unknown kid: a shape tells as much as a lookup.
        raise Refused("signature_invalid")
    return kid


def authenticate(
    unverified: Unverified,
    received: Received,
    *,
    registered: RegisteredKey | None,
    issuer: str,
    now: int,
    skew: int = SKEW,
) -> Authenticated:
    """Second step: check signature, key state, claims and body digest, in this order. Raises ``Refused``.

    ``registered`` is what the key table holds under ``unverified.kid``, None if nothing. ``issuer`` is the configured
    public address ``scheme://host[:port]``; no header of the request can replace it. ``now`` and ``skew`` in seconds.
    """
    compact = unverified.compact
    # The key's own thumbprint, not the row's name for it, so that a mixed-up table fails closed.
    if registered is None or registered.key.kid != unverified.kid:
        raise Refused("signature_invalid")
    if not registered.key.verify(compact.signing_input, compact.signature):
        raise Refused("signature_invalid")
    check_key_state(registered, now)
    claims = _read_claims(compact.payload, registered.member_id, received)
    if claims.aud != issuer:
        raise Refused("aud_mismatch")
    _check_times(claims, now=now, skew=skew)
    _check_address(claims, received, issuer)
    _check_bound_header(claims.idk, received.idempotency_key)
    _check_bound_header(claims.ifm, received.if_match)
    _check_body(claims.cdg, received)
    return Authenticated(
        claims=claims, token_bytes=compact.token, rqh=sha256_b64url(compact.token), kid=registered.key.kid
    )


def _check_signable(*, sub: str, method: str, path: str, lifetime: int, jti: str) -> None:
    if not 1 <= lifetime <= MAX_LIFETIME:
        raise Malformed(f"a token lives 1 to {MAX_LIFETIME} seconds")
    if not _SUB.fullmatch(sub) or not _JTI.fullmatch(jti):
        raise Malformed("sub is 1 to 64 of [A-Za-z0-9._:-], jti 16 to 64 of [A-Za-z0-9_-]")
    if not _is_method(method) or not _is_path(path.encode("utf-8", "surrogatepass")):
        raise Malformed("a method is in upper case; a path has no %, no empty and no dot segments")


def _bearer_token(authorization: tuple[bytes, ...]) -> bytes:
    if not authorization:
        raise Refused("token_missing")
    # Size before anything that reads or copies the value.
    if len(authorization) > 1 or len(authorization[0]) > len(_SCHEME) + 1 + MAX_TOKEN:
        raise Refused("token_malformed")
    scheme, _, token = authorization[0].partition(b" ")
    if scheme.lower() != _SCHEME or not token:
        raise Refused("token_missing")
    return token


def check_key_state(registered: RegisteredKey, now: int) -> None:
    """Refuse a key that is not alive at ``now``, in seconds since 1970."""
    match registered.state:
        case "revoked":
            raise Refused("key_revoked")
        case "expired":
            raise Refused("key_expired")
        case "active" | "retiring":
            # No skew: both times are the service's own.
            if now >= registered.expires_at:
                raise Refused("key_expired")
        case _:
            # Pending, or a state that this release does not know: not yet a key of anybody.
            raise Refused("signature_invalid")


def _read_claims(payload: bytes, owner: str, received: Received) -> RequestClaims:
    """Return the claims with the types they must have. What they say is compared with the request afterwards."""
    try:
        members = decode_object(payload)
    except Malformed as error:
        raise Refused("token_malformed") from error
    _check_presence(members, received)
    if members["iss"] != owner:
        raise Refused("signature_invalid")
    if members["ver"] != VERSION:
        raise Refused("token_malformed")
    return RequestClaims(
        iss=owner,
        sub=_matching(members["sub"], _SUB),
        aud=_text(members["aud"], "aud_mismatch"),
        iat=_seconds(members["iat"]),
        exp=_seconds(members["exp"]),
        nbf=_seconds(members["nbf"]) if "nbf" in members else None,
        jti=_matching(members["jti"], _JTI),
        htm=_text(members["htm"], "method_mismatch"),
        htu=_text(members["htu"], "uri_mismatch"),
        htq=_optional_text(members, "htq", "query_mismatch"),
        idk=_optional_text(members, "idk", "header_mismatch"),
        ifm=_optional_text(members, "ifm", "header_mismatch"),
        cdg=_optional_text(members, "cdg", "digest_mismatch"),
    )


def _check_presence(members: Mapping[str, object], received: Received) -> None:
    for name in _ALWAYS:
        if name not in members:
            raise Refused("claim_missing", extra={"claim": name})
    if received.raw_query and "htq" not in members:
        raise Refused("claim_missing", extra={"claim": "htq"})
    if (received.body or received.body_follows) and "cdg" not in members:
        raise Refused("claim_missing", extra={"claim": "cdg"})


def _check_times(claims: RequestClaims, *, now: int, skew: int) -> None:
    server_time = {"server_time": now}
    if claims.iat > now + skew or (claims.nbf is not None and claims.nbf > now + skew):
        raise Refused("token_not_yet_valid", extra=server_time)
    if claims.exp - claims.iat > MAX_LIFETIME:
        raise Refused("lifetime_too_long", extra=server_time)
    # A token that ends before it begins was never valid, not even within the skew.
    if now >= claims.exp + skew or claims.exp <= claims.iat:
        raise Refused("token_expired", extra=server_time)


def _check_address(claims: RequestClaims, received: Received, issuer: str) -> None:
    if claims.htm != received.method or not _is_method(received.method):
        raise Refused("method_mismatch")
    if claims.htu.encode("utf-8") != issuer.encode("utf-8") + received.raw_path or not _is_path(received.raw_path):
        raise Refused("uri_mismatch")
    expected = b64url_encode(hashlib.sha256(received.raw_query).digest()) if received.raw_query else None
    if claims.htq != expected:
        raise Refused("query_mismatch")


def _check_bound_header(claim: str | None, header: bytes | None) -> None:
    """Both absent, or the same characters. Only ASCII can be equal, because bytes above it have no agreed reading."""
    if claim is None and header is None:
        return
    if claim is None or header is None or not claim.isascii() or claim.encode("ascii") != header:
        raise Refused("header_mismatch")


def _check_body(claim: str | None, received: Received) -> None:
    encoding = received.content_encoding
    if encoding is not None and encoding.lower() != b"identity":
        raise Refused("unsupported_media_type")
    if not received.body_follows:
        check_digest(claim, content_digest(received.body) if received.body else None)
        return
    try:
        parse_content_digest(claim or "")
    except Malformed:
        raise Refused("digest_mismatch") from None


def check_digest(claim: str | None, found: str | None) -> None:
    """Refuse a body whose digest is not the one that was signed; None where there is no body or no claim."""
    # Comparing the text is enough and strict: the digest of a body has one spelling here.
    if claim != found:
        raise Refused("digest_mismatch")


def _is_method(method: str) -> bool:
    return method.isascii() and method.isupper()


def _is_path(path: bytes) -> bool:
    return path.startswith(b"/") and _PATH.fullmatch(path) is not None


def _seconds(value: object) -> int:
    # Exactly int: a bool is one to isinstance, and 1.0 is not what was agreed.
    if type(value) is not int:
        raise Refused("token_malformed")
    return value


def _matching(value: object, form: re.Pattern[str]) -> str:
    if not isinstance(value, str) or form.fullmatch(value) is None:
        raise Refused("token_malformed")
    return value


def _text(value: object, code: str) -> str:
    if not isinstance(value, str):
        raise Refused(code)
    return value


def _optional_text(members: Mapping[str, object], name: str, code: str) -> str | None:
    return _text(members[name], code) if name in members else None
