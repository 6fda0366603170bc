"""A lender's everyday work, by resource: consents, records, debts, queries, keys. Each method is a flow of a session.

A borrower is named by exactly one of ``uscc``, ``cnid``, ``lei``, which are blinded here and go no further, or by
``subject``, a token made before; making one uses up one evaluation of the day's budget.
"""

import json
import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypedDict, Unpack

from creditshare.client.core import File, SignedAnswer
from creditshare.client.flow import Flow, Wait
from creditshare.client.session import SALT_BYTES, Session
from creditshare.crypto.digests import content_digest
from creditshare.crypto.encoding import b64url_encode
from creditshare.crypto.jws import SigningKey
from creditshare.errors import Malformed, Unavailable

NDJSON_TYPE: Final = "application/x-ndjson"
BATCH_WAIT_S: Final = 3_600.0
FIRST_POLL_S: Final = 0.05
LONGEST_POLL_S: Final = 1.0
SALTS_SUFFIX: Final = ".salts.ndjson"


class Borrower(TypedDict, total=False):
    """Exactly one of these names a borrower."""

    uscc: str
    cnid: str
    lei: str
    subject: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of a file of records: its job's last state, and each row's record or errors.

    Rows count from 1. A row that stands in neither was not dealt with, because the job failed before it, or was
    accepted by a dry run.
    """

    job: Mapping[str, Any]
    errors: tuple[Mapping[str, Any], ...]
    record_ids: Mapping[int, str]


class Resource:
    """What the resources share: their session, and the way from a borrower's name to its token."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def _subject(self, borrower: Borrower) -> Flow[Mapping[str, Any]]:
        if len(borrower) != 1:
            raise Malformed("name the borrower by exactly one of uscc, cnid, lei and subject")
        if "subject" in borrower:
            return borrower["subject"]
        if "uscc" in borrower:
            (token,) = yield from self._session.tokenise([borrower["uscc"]])
        elif "cnid" in borrower:
            (token,) = yield from self._session.tokenise([borrower["cnid"]], id_type="cnid")
        else:
            (token,) = yield from self._session.tokenise([borrower["lei"]], id_type="lei")
        return token


class ConsentFlows(Resource):
    """Consents of borrowers to this lender."""

    def grant(
        self,
        *,
        kind: str,
        purposes: Sequence[str],
        scopes: Sequence[str],
        evidence: Path,
        channel: str = "electronic",
        valid_days: int = 30,
        max_uses: int | None = None,
        key: str | None = None,
        **borrower: Unpack[Borrower],
    ) -> Flow[SignedAnswer]:
        """Register a consent that the borrower signed.

        Only a digest of 32 random bytes and the document is sent. The bytes are kept beside the document, in
        ``<document>.salts.ndjson``: both are needed to show an auditor what was consented to.
        """
        document = evidence.read_bytes()
        subject = yield from self._subject(borrower)
        salt = secrets.token_bytes(SALT_BYTES)
        keep_salt(evidence, salt, content_digest(salt + document))
        return (
            yield from self._session.grant_consent(
                subject,
                kind=kind,
                purposes=purposes,
                scopes=scopes,
                document=document,
                salt=salt,
                channel=channel,
                valid_days=valid_days,
                max_uses=max_uses,
                key=key,
            )
        )

    def show(self, consent_id: str) -> Flow[SignedAnswer]:
        """Show one of our consents."""
        return self._session.call("GET", f"/v1/consents/{consent_id}")

    def revoke(self, consent_id: str) -> Flow[SignedAnswer]:
        """Revoke: the very next question is refused."""
        return self._session.call("POST", f"/v1/consents/{consent_id}/revocation", data={})

    def pause(self, consent_id: str) -> Flow[SignedAnswer]:
        """Pause until resumed."""
        return self._session.call("POST", f"/v1/consents/{consent_id}/pause", data={})

    def resume(self, consent_id: str) -> Flow[SignedAnswer]:
        """Resume a paused consent."""
        return self._session.call("POST", f"/v1/consents/{consent_id}/resumption", data={})


class RecordFlows(Resource):
    """Default records of this lender."""

    def submit(
        self, record: Mapping[str, Any], *, key: str | None = None, **borrower: Unpack[Borrower]
    ) -> Flow[SignedAnswer]:
        """Report a default; ``record`` is the body without its subject."""
        subject = yield from self._subject(borrower)
        return (yield from self._session.call("POST", "/v1/records", data={**record, "subject": subject}, key=key))

    def submit_batch(
        self,
        records: Iterable[Mapping[str, Any]],
        *,
        dry_run: bool = False,
        key: str | None = None,
        wait_s: float = BATCH_WAIT_S,
    ) -> Flow[Batch]:
        """Report many defaults at once and wait until each is a record or refused.

        ``records`` are bodies as for ``submit``, each with its ``subject``. A dry run says what is wrong and takes none
        in. Where the job takes longer than ``wait_s``, ``follow`` goes on waiting.
        """
        answer = yield from self.start_batch(records, dry_run=dry_run, key=key)
        return (yield from self.follow(str(answer["job_id"]), wait_s=wait_s))

    def start_batch(
        self, records: Iterable[Mapping[str, Any]], *, dry_run: bool = False, key: str | None = None
    ) -> Flow[SignedAnswer]:
        """Report many defaults at once without waiting; the answer is the job, to be followed."""
        lines = (json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode() for record in records)
        content = b"".join(line + b"\n" for line in lines)
        query = "dry_run=true" if dry_run else ""
        return (
            yield from self._session.call(
                "POST", "/v1/record-batches", query=query, data=File(NDJSON_TYPE, content), key=key
            )
        )

    def follow(
        self, job_id: str, *, wait_s: float = BATCH_WAIT_S, told: Callable[[Mapping[str, Any]], None] | None = None
    ) -> Flow[Batch]:
        """Wait for a job of ours to end and return its counts and what each row became.

        ``told`` is called with each state of the job that is seen meanwhile.
        """
        waited, pause = 0.0, FIRST_POLL_S
        while True:
            job = (yield from self._session.call("GET", f"/v1/jobs/{job_id}")).data
            if told is not None:
                told(job)
            if job["status"] in {"done", "failed"}:
                break
            if waited >= wait_s:
                raise Unavailable(f"{job_id} is still at work; `follow` it again")
            yield Wait(pause)
            waited, pause = waited + pause, min(2 * pause, LONGEST_POLL_S)
        errors = yield from self._lines(f"/v1/jobs/{job_id}/errors", job["refused"])
        became = yield from self._lines(f"/v1/jobs/{job_id}/records", 0 if job["dry_run"] else job["accepted"])
        return Batch(job, tuple(errors), {line["row"]: line["record_id"] for line in became})

    def _lines(self, path: str, expected: int) -> Flow[list[dict[str, Any]]]:
        """Read as many lines about rows as there are, page by page."""
        lines: list[dict[str, Any]] = []
        while len(lines) < expected:
            after = f"after={lines[-1]['row']}" if lines else ""
            page = (yield from self._session.call("GET", path, query=after)).body.splitlines()
            if not page:
                raise Unavailable(f"{path} ended after {len(lines)} of {expected} lines")
            lines += [json.loads(line) for line in page]
        return lines

    def show(self, record_id: str) -> Flow[SignedAnswer]:
        """Show one of our own records."""
        return self._session.call("GET", f"/v1/records/{record_id}")

    def advance(self, record_id: str, *, kind: str, on: str, amount: str | None = None) -> Flow[SignedAnswer]:
        """Add a step of the record's life, such as ``settled_full`` on a day (YYYY-MM-DD)."""
        body = {"kind": kind, "on": on} | ({} if amount is None else {"amount": amount})
        return self._session.call("POST", f"/v1/records/{record_id}/events", data=body)

    def correct(self, record_id: str, *, changes: Mapping[str, Any], reason: str) -> Flow[SignedAnswer]:
        """Say what is right where the record was wrong; None empties a field."""
        body = {"reason": reason, "changes": dict(changes)}
        return self._session.call("POST", f"/v1/records/{record_id}/corrections", data=body)

    def withdraw(self, record_id: str, *, reason: str) -> Flow[SignedAnswer]:
        """Take a record back."""
        return self._session.call("POST", f"/v1/records/{record_id}/withdrawal", data={"reason": reason})


class DebtFlows(Resource):
    """What borrowers owe this lender, stated for the 20 % test."""

    def state(
        self,
        *,
        month: str,
        total: str,
        overdue: str,
        currency: str = "CNY",
        consent: str | Mapping[str, Any] | SignedAnswer | None = None,
        key: str | None = None,
        **borrower: Unpack[Borrower],
    ) -> Flow[SignedAnswer]:
        """State a debt at a month's end, and the part of it that is more than 90 days overdue.

        ``consent`` is one to provide; without it the statement rests on a legal duty.
        """
        subject = yield from self._subject(borrower)
        body: dict[str, Any] = {
            "subject": subject,
            "month": month,
            "currency": currency,
            "total_debt": total,
            "overdue_debt": overdue,
            "lawful_basis": "legal_duty",
        }
        if consent is not None:
            consent_id = consent if isinstance(consent, str) else str(consent["consent_id"])
            body |= {"lawful_basis": "consent", "provide_consent_id": consent_id}
        return (yield from self._session.call("POST", "/v1/debt-statements", data=body, key=key))


class QueryFlows(Resource):
    """Questions about borrowers."""

    def run(
        self,
        *,
        purpose: str,
        consent: str | Mapping[str, Any] | SignedAnswer,
        scopes: Sequence[str] = ("defaults",),
        as_of: str | None = None,
        key: str | None = None,
        **borrower: Unpack[Borrower],
    ) -> Flow[SignedAnswer]:
        """Ask what other lenders reported; ``consent`` is its id, or what ``consents.grant`` returned."""
        consent_id = consent if isinstance(consent, str) else str(consent["consent_id"])
        subject = yield from self._subject(borrower)
        return (
            yield from self._session.query(
                subject, purpose=purpose, consent_id=consent_id, scopes=scopes, as_of=as_of, key=key
            )
        )

    def non_performing(
        self,
        *,
        purpose: str,
        consent: str | Mapping[str, Any] | SignedAnswer,
        key: str | None = None,
        **borrower: Unpack[Borrower],
    ) -> Flow[SignedAnswer]:
        """Ask whether more than 20 % of the borrower's debt at all lenders is more than 90 days overdue.

        Told as ``flipped``, for the month that closed last; None where too few lenders stated their debt.
        """
        consent_id = consent if isinstance(consent, str) else str(consent["consent_id"])
        subject = yield from self._subject(borrower)
        body = {"subject": subject, "purpose": purpose, "consent_id": consent_id}
        return (yield from self._session.call("POST", "/v1/non-performing-tests", data=body, key=key))

    def show(self, query_id: str) -> Flow[SignedAnswer]:
        """Return the bytes once told; the header ``cs-superseded`` says why they no longer hold, if they do not."""
        return self._session.call("GET", f"/v1/queries/{query_id}")


class KeyFlows(Resource):
    """Signing keys of this member."""

    def register(self, new: SigningKey) -> Flow[SignedAnswer]:
        """Register a further key, signed for by the present one, with proof that we hold it."""
        yield from self._session.connect()
        body = {"jwk": dict(new.public_jwk), "proof": self._session.proof_for(new)}
        return (yield from self._session.call("POST", self._path(), data=body))

    def revoke(self, kid: str, *, reason: str, since: str | None = None) -> Flow[SignedAnswer]:
        """Revoke a key; ``compromise`` with ``since`` also revokes every key that it registered since then."""
        body = {"reason": reason} | ({} if since is None else {"since": since})
        return self._session.call("POST", f"{self._path()}/{kid}/revocation", data=body)

    def retire(self, kid: str) -> Flow[SignedAnswer]:
        """Let a key that has a successor end seven days after that one was registered."""
        return self._session.call("POST", f"{self._path()}/{kid}/retirement", data={})

    def list(self) -> Flow[list[dict[str, Any]]]:
        """List all keys, newest first, revoked and expired ones too."""
        return self._session.pages(self._path())

    def _path(self) -> str:
        return f"/v1/members/{self._session.signer.member_id}/keys"


def keep_salt(document: Path, salt: bytes, digest: str) -> None:
    """Append a salt to the file beside its document, readable by its owner alone, before anything is sent."""
    path = document.with_name(document.name + SALTS_SUFFIX)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps({"digest": digest, "salt": b64url_encode(salt)}) + "\n")
