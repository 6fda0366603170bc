"""What anyone may read, as it is published. These documents may grow; a member not named here is passed on."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Open(BaseModel):
    """A published document that may gain members before its description does."""

    model_config = ConfigDict(extra="allow")


class SigningProfile(Open):
    """What a signed request must look like."""

    algs: list[str]
    request_typ: str
    answer_typ: str
    max_lifetime_s: int
    skew_s: int


class TokenSuite(Open):
    """One key version of the oblivious function; ``public_key`` is base64url of 33 bytes."""

    suite: str
    key_version: int
    public_key: str
    current: bool


class TokenSuites(Open):
    """Where and with which keys blind tokens are made."""

    mode: Literal["embedded", "split"]
    suites: list[TokenSuite]


class LogAddress(Open):
    """The audit log: its name, its key as C2SP verifier key, its promise in seconds, its address, who may read it."""

    origin: str
    vkey: str
    mmd_s: int
    base: str
    readers: Literal["anyone", "members"]


class Limits(Open):
    """What is refused before it is read, and how much a member may ask; times are in seconds."""

    header_bytes: int
    body_bytes: int
    body_time_s: int
    request_time_s: int
    requests_per_s: int
    burst_requests: int
    requests_at_once: int
    token_bytes: int
    evaluations_per_call: int
    evaluations_per_day: int
    queries_per_day: int
    reports_per_day: int


class Discovery(Open):
    """Everything a client needs to begin."""

    issuer: str
    environment: Literal["sandbox", "production"]
    signing: SigningProfile
    jwks_uri: str
    tokens: TokenSuites
    log: LogAddress
    limits: Limits
    policy_version: str


class ServiceKey(Open):
    """A public key that signs answers (RFC 7517)."""

    kty: str
    crv: str
    x: str
    y: str
    use: str
    kid: str
    alg: str


class ServiceKeys(Open):
    """The keys that sign answers."""

    keys: list[ServiceKey]


class Health(Open):
    """The word of a part that works."""

    status: str


class Inclusion(Open):
    """A leaf's path to the root of a signed checkpoint (RFC 9162); hashes are base64url."""

    event_id: str
    leaf_hash: str
    index: int
    size: int
    hashes: list[str]
    checkpoint: str


class LogKey(Open):
    """A key that signs checkpoints, as C2SP verifier key."""

    vkey: str
    state: str


class LogKeys(Open):
    """The keys that sign checkpoints."""

    keys: list[LogKey]


class Anchor(Open):
    """A stamp of a time-stamping authority (RFC 3161) over the text of the checkpoint of ``size`` leaves.

    ``tsa`` is the authority's address, ``token`` its token in DER and standard base64, ``time`` what the token states.
    """

    size: int
    tsa: str
    time: str
    token: str


class Anchors(Open):
    """Stamps, those of the newest checkpoints first."""

    anchors: list[Anchor]


class LogState(Open):
    """How large the log is, which only its readers are told, and how long its oldest event has been waiting.

    ``cosigned_size`` is that of the newest checkpoint with a quorum of witnesses, where any are asked; ``held`` is why
    the log is not signed on, where witnesses saw another one.
    """

    size: int | None
    oldest_pending_s: float
    mmd_s: int
    cosigned_size: int | None = None
    held: str | None = None
