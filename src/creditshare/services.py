"""The frozen value that holds every wired service. ``composition.py`` builds it once; nobody else does."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from creditshare.access.cursors import Cursors
from creditshare.access.keytable import KeyTable
from creditshare.access.openings import Openings
from creditshare.access.readers import Readers
from creditshare.access.service import Access
from creditshare.approvals.service import Approvals
from creditshare.audit.checkpoints import newest_with_quorum
from creditshare.audit.service import Audit
from creditshare.audit.state import LogState
from creditshare.batches.service import Batches
from creditshare.clock import Clock
from creditshare.consents.service import Consents
from creditshare.crypto.jws import SigningKey
from creditshare.erasures.service import Erasures
from creditshare.handback.service import HandBack
from creditshare.indebtedness.service import Indebtedness
from creditshare.members.keys import MemberKeys
from creditshare.members.service import Members
from creditshare.policy.service import Policy
from creditshare.reciprocity.service import Reciprocity
from creditshare.records.service import Records
from creditshare.reports.service import Reports
from creditshare.sessions.passkeys import Passkeys
from creditshare.sessions.service import Sessions
from creditshare.settings import Settings
from creditshare.sharing.service import Sharing
from creditshare.storage.engine import Database, ReadSession
from creditshare.subjects.service import Subjects
from creditshare.subjects.tokeniser import Tokeniser
from creditshare.telemetry import (
    CHECKPOINT_SECONDS,
    COSIGNED_SIZE,
    HELD,
    LOG_SIZE,
    PENDING,
    PENDING_SECONDS,
    UNANCHORED_SECONDS,
)
from creditshare.tlog.note import Verifier
from creditshare.tlog.policy import TrustPolicy
from creditshare.warrants.service import Warrants

LOOK_LIFE_S: Final = 3.0
NEVER: Final = float("-inf")


@dataclass(slots=True)
class LogHealth:
    """What this worker last saw of the log: the age of its oldest event without an index, and when it looked.

    ``stamped`` says whether checkpoints are to be stamped at all.
    """

    merge_delay_s: int
    stamped: bool = False
    oldest_pending_s: float = 0.0
    held: bool = False
    cosigned_size: int | None = None
    looked_at: float = NEVER
    monotonic: Callable[[], float] = time.monotonic

    def saw(self, state: LogState, *, cosigned: int | None = None) -> None:
        """Note a look at the log, and the size of the newest checkpoint with a quorum if there is a newer one."""
        self.oldest_pending_s, self.looked_at = state.oldest_pending_s, self.monotonic()
        self.held = state.hold is not None
        HELD.set(self.held)
        self.cosigned_size = self.cosigned_size if cosigned is None else cosigned
        COSIGNED_SIZE.set(self.cosigned_size or 0)
        PENDING_SECONDS.set(state.oldest_pending_s)
        PENDING.set(state.pending)
        LOG_SIZE.set(state.size)
        CHECKPOINT_SECONDS.set(state.checkpoint_age_s)
        UNANCHORED_SECONDS.set(state.unanchored_s if self.stamped else 0.0)

    @property
    def seen(self) -> bool:
        """Whether the database answered lately; health says so without asking it anew."""
        return self.monotonic() - self.looked_at <= LOOK_LIFE_S

    @property
    def late(self) -> bool:
        """Whether an event waits longer than promised, or witnesses hold the log and it would come to wait.

        What was seen keeps ageing until the next look. What was never looked at counts as late.
        """
        if self.held or self.looked_at == NEVER:
            return True
        if self.oldest_pending_s <= 0:
            return False
        return self.oldest_pending_s + (self.monotonic() - self.looked_at) > self.merge_delay_s


@dataclass(frozen=True, slots=True)
class Services:
    """Everything the edges call."""

    settings: Settings
    clock: Clock
    issuer: str
    signing_key: SigningKey
    service_keys: dict[str, SigningKey]
    log_verifier: Verifier
    log_health: LogHealth
    witness_policy: TrustPolicy | None
    database: Database
    watching: Database
    policy: Policy
    audit: Audit
    key_table: KeyTable
    access: Access
    cursors: Cursors
    readers: Readers
    openings: Openings
    approvals: Approvals
    members: Members
    member_keys: MemberKeys
    tokeniser: Tokeniser
    subjects: Subjects
    consents: Consents
    records: Records
    sharing: Sharing
    indebtedness: Indebtedness
    batches: Batches
    hand_back: HandBack
    reports: Reports
    warrants: Warrants
    erasures: Erasures
    reciprocity: Reciprocity
    sessions: Sessions
    passkeys: Passkeys

    async def newest_cosigned(self, session: ReadSession) -> int | None:
        """Return the size of the newest checkpoint with a quorum of witnesses, beginning at what was seen before."""
        if self.witness_policy is None:
            return None
        known = self.log_health.cosigned_size
        found = await newest_with_quorum(session, self.witness_policy, above=-1 if known is None else known)
        return known if found is None else found

    def log_is_late(self) -> bool:
        """Whether an event waits for its index longer than promised."""
        return self.log_health.late
