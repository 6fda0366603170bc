"""Lenders at work: consents, records, corrections, questions, revocations, retries and replays, all from one seed.

An operation keeps its idempotency key and body until somebody answers it for good; each attempt is signed anew.
"""

import base64
import json
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
from tests.faults.bank import Bank, Journal, Signed, consent_body, default_body, line_to, transmit

DESKS_PER_LENDER = 2
TIMEOUT_S = 6.0
MORE_S = 300.0
AGAIN = {"unavailable", "idempotency_in_progress", "token_expired", "token_not_yet_valid", "internal_error"}
WORK = {"consent": 3, "record": 4, "correction": 2, "query": 8, "revocation": 1, "repeat": 1, "replay": 1}


@dataclass
class Shelf:
    """The consents of one lender, shared by its desks."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    consents: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


class Desk(threading.Thread):
    """One officer who works until the load ends."""

    def __init__(self, load: "Load", number: int, bank: Bank, shelf: Shelf) -> None:
        super().__init__(daemon=True, name=f"desk-{number}")
        self._load = load
        self._number = number
        self._bank = bank
        self._shelf = shelf
        self._random = random.Random(f"{load.seed}-{number}")  # noqa: S311  reproducible work, not a secret
        self._count = 0
        self._records: list[str] = []
        self._done: list[tuple[str, str, bytes, Signed]] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        names, weights = list(WORK), list(WORK.values())
        try:
            with line_to(self._load.url, timeout=TIMEOUT_S) as http:
                while not self._load.ending.is_set():
                    (name,) = self._random.choices(names, weights)
                    getattr(self, f"_{name}")(http)
                    time.sleep(self._random.random() * self._load.pause_s)
        except BaseException as error:
            self.failure = error
            raise

    def _token(self) -> dict[str, Any]:
        return self._random.choice(self._bank.tokens)

    def _consent(self, http: httpx.Client) -> None:
        token = self._token()
        made = self._perform(http, "consent", "/v1/consents", consent_body(token, self._random.randint(1, 5)))
        if made:
            with self._shelf.lock:
                self._shelf.consents.append((made["consent_id"], token))

    def _record(self, http: httpx.Client) -> None:
        body = default_body(self._token(), f"{self._number}-{self._count}", f"{self._random.randint(1, 149)}000.00")
        made = self._perform(http, "record", "/v1/records", body)
        if made:
            self._records.append(made["record_id"])

    def _correction(self, http: httpx.Client) -> None:
        if self._records:
            body = {
                "reason": "wrong_amount",
                "changes": {"outstanding_principal": f"{self._random.randint(1, 149)}500.00"},
            }
            path = f"/v1/records/{self._random.choice(self._records[-20:])}/corrections"
            self._perform(http, "correction", path, body)

    def _query(self, http: httpx.Client) -> None:
        with self._shelf.lock:
            if not self._shelf.consents:
                return
            consent, token = self._random.choice(self._shelf.consents[-12:])
        body = {"subject": token, "purpose": "pre_loan", "consent_id": consent, "scopes": ["defaults", "amounts"]}
        self._perform(http, "query", "/v1/queries", body)

    def _revocation(self, http: httpx.Client) -> None:
        with self._shelf.lock:
            if not self._shelf.consents:
                return
            consent, _ = self._random.choice(self._shelf.consents[-12:])
        self._perform(http, "revocation", f"/v1/consents/{consent}/revocation", {})

    def _repeat(self, http: httpx.Client) -> None:
        """Ask again under a key that was answered long ago."""
        if self._done:
            key, path, body, _ = self._random.choice(self._done[-30:])
            self._attempts(http, "repeat", key, path, body)

    def _replay(self, http: httpx.Client) -> None:
        """Send the very same bytes, token and all, of a request that was answered."""
        if self._done:
            key, _, _, sent = self._random.choice(self._done[-5:])
            self._attempt(http, "replay", key, sent)

    def _perform(self, http: httpx.Client, operation: str, path: str, data: object) -> Any:
        self._count += 1
        key = f"{self._load.seed}-{self._number}-{self._count}"
        return self._attempts(http, operation, key, path, json.dumps(data).encode())

    def _attempts(self, http: httpx.Client, operation: str, key: str, path: str, body: bytes) -> Any:
        while True:
            sent = self._bank.sign("POST", path, body, key=key)
            got = self._attempt(http, operation, key, sent)
            if got is not None:
                told = got.json()
                if got.status_code < 300:
                    self._done.append((key, path, body, sent))
                    return told
                if told.get("code") not in AGAIN:
                    return None
            if self._load.giving_up.is_set():
                return None
            time.sleep(0.05 + self._random.random() * 0.2)

    def _attempt(self, http: httpx.Client, operation: str, key: str, sent: Signed) -> httpx.Response | None:
        journal = self._load.journal
        attempt = journal.number()
        journal.write(
            "invoke",
            attempt,
            operation=operation,
            member=self._bank.member_id,
            key=key,
            path=sent.path,
            body=sent.body.decode(),
            rqh=sent.rqh,
            token=sent.token,
        )
        try:
            got = transmit(http, sent)
        except httpx.HTTPError as error:
            journal.write("lost", attempt, error=type(error).__name__)
            return None
        journal.write(
            "answer",
            attempt,
            status=got.status_code,
            body=base64.b64encode(got.content).decode(),
            signature=got.headers.get("CS-Signature", ""),
            replayed="Idempotent-Replayed" in got.headers,
            retry_after=got.headers.get("Retry-After", ""),
            rqh=sent.rqh,
        )
        # Approximate where desks meet: they only pace the cells.
        self._load.answered += 1
        self._load.acknowledged += got.status_code < 300
        return got


class Load:
    """All desks, and a watcher that writes down every checkpoint it sees."""

    def __init__(self, url: str, banks: list[Bank], journal: Journal, seed: int, *, pause_s: float = 0.04) -> None:
        self.url = url
        self.seed = seed
        self.journal = journal
        self.pause_s = pause_s
        self.ending = threading.Event()
        self.giving_up = threading.Event()
        self.answered = 0
        self.acknowledged = 0
        shelves = [Shelf() for _ in banks]
        self.desks = [
            Desk(self, number, banks[number % len(banks)], shelves[number % len(banks)])
            for number in range(DESKS_PER_LENDER * len(banks))
        ]
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Begin to work."""
        for thread in (*self.desks, self._watcher):
            thread.start()

    def wait_for_more(self, count: int, *, of: Literal["acknowledged", "answered"] = "acknowledged") -> None:
        """Wait until that many more requests were acknowledged or at least answered.

        So a fault never hits an idle service, and lasts as long as it takes to be felt.
        """
        wanted, deadline = getattr(self, of) + count, time.monotonic() + MORE_S
        while getattr(self, of) < wanted:
            if time.monotonic() > deadline:
                raise AssertionError(f"not {count} {of} within {MORE_S} s")
            time.sleep(0.02)

    def stop(self, patience_s: float = 30) -> None:
        """Let every operation come to its end, giving up on what is not answered within the patience."""
        self.ending.set()
        deadline = time.monotonic() + patience_s
        for desk in self.desks:
            desk.join(max(0.1, deadline - time.monotonic()))
        self.giving_up.set()
        for thread in (*self.desks, self._watcher):
            thread.join(TIMEOUT_S + 5)
            assert not thread.is_alive()
        for desk in self.desks:
            if desk.failure is not None:
                raise AssertionError(f"{desk.name} fell over: {desk.failure!r}")

    def _watch(self) -> None:
        with line_to(self.url, timeout=2) as http:
            while not self.ending.wait(0.25):
                try:
                    got = http.get("/log/v1/checkpoint")
                except httpx.HTTPError:
                    continue
                if got.status_code == 200:
                    self.journal.write("checkpoint", 0, note=got.text)
