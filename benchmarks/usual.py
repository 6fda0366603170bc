"""Setting the usual way up, and the requests that are sent to it."""

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jose import jwt

from benchmarks.load import Prepared, post
from benchmarks.processes import uvicorn_app
from creditshare.storage.embedded import EmbeddedPostgres

LENDER = "lender-1"
PURPOSE = "pre_loan"


def new_pem() -> tuple[str, str]:
    """Return a private and a public key in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


@contextmanager
def running(postgres: EmbeddedPostgres, port: int) -> Iterator[tuple[str, int, str, str]]:
    """Run the usual way on a database of its own; yield address, pid, the database's address and the lender's key."""
    name = "usual"
    postgres.drop_database(name)
    postgres.create_database(name)
    url = postgres.url("superuser", name)
    lender, public = new_pem()
    service, _ = new_pem()
    environment = {"USUAL_DATABASE_URL": url, "USUAL_SIGNING_PEM": service, "USUAL_SECRET": secrets.token_hex(16)}
    os.environ.update(environment)
    with uvicorn_app("benchmarks.usual_way:app", port, environment) as (address, pid):
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("INSERT INTO lender VALUES (%s, %s, 'active')", [LENDER, public])
        yield address, pid, url.replace("+psycopg", ""), lender
    postgres.drop_database(name)


def signed(path: str, body: bytes, pem: str) -> Prepared:
    """Return a signed request."""
    now = int(time.time())
    claims = {
        "iss": LENDER,
        "aud": "usual",
        "iat": now,
        "exp": now + 60,
        "jti": secrets.token_urlsafe(18),
        "body": hashlib.sha256(body).hexdigest(),
    }
    token = jwt.encode(claims, pem, algorithm="ES256")
    return post(path, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}, body)


def submission(pem: str, number: int, identifier: str) -> Prepared:
    """Return a request that reports a default."""
    body = (
        f'{{"identifier":"{identifier}","account_ref":"A-{number}-{secrets.token_hex(4)}","amount":"98000.00","currency":"USD",'
        f'"default_on":"2026-01-31","days_past_due":200}}'
    )
    return signed("/default", body.encode(), pem)


def question(pem: str, identifier: str, consent: str) -> Prepared:
    """Return a request that asks about a borrower."""
    body = f'{{"identifier":"{identifier}","purpose":"{PURPOSE}","consent_id":"{consent}"}}'
    return signed("/query", body.encode(), pem)


def grant(database: str, identifiers: list[str]) -> dict[str, str]:
    """Insert a consent for each identifier, as its own API would; return their ids."""
    secret = os.environ["USUAL_SECRET"].encode()
    digest = {i: hmac.new(secret, i.encode(), hashlib.sha256).hexdigest() for i in identifiers}
    until = datetime.now(UTC) + timedelta(days=30)
    ids = {identifier: secrets.token_hex(8) for identifier in identifiers}
    with psycopg.connect(database, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO consent VALUES (%s, %s, %s, %s, %s, false, 0)",
            [(ids[i], LENDER, digest[i], PURPOSE, until) for i in identifiers],
        )
    return ids
