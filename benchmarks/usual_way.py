"""The usual way: what a competent team writes in a week. Built with care, passes its own tests, is no straw man.

FastAPI, an async ORM session, python-jose's own ``jwt.decode`` with the key parsed at each call, SQLAlchemy-Utils'
encrypted columns, an identifier hashed under a secret, a used-up ``jti``, and an audit trail whose rows are chained
by hash under a lock. Same job as ours: a signed question under a consent, a signed default.
"""

import hashlib
import hmac
import json
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from jose import JWTError, jwt
from pydantic import BaseModel
from sqlalchemy import DateTime, ForeignKey, Integer, String, Text, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy_utils import StringEncryptedType
from sqlalchemy_utils.types.encrypted.encrypted_type import AesGcmEngine

SECRET = os.environ.get("USUAL_SECRET", "0" * 32)
URL = os.environ.get("USUAL_DATABASE_URL", "postgresql+psycopg:///usual")
SIGNING_PEM = os.environ.get("USUAL_SIGNING_PEM", "")
AUDIENCE = "usual"


class Base(DeclarativeBase):
    pass


def sealed() -> StringEncryptedType:
    return StringEncryptedType(Text, SECRET, AesGcmEngine)


class Lender(Base):
    __tablename__ = "lender"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    public_pem: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String, default="active")


class Consent(Base):
    __tablename__ = "consent"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    lender_id: Mapped[str] = mapped_column(ForeignKey("lender.id"), index=True)
    borrower: Mapped[str] = mapped_column(String, index=True)
    purpose: Mapped[str] = mapped_column(String)
    valid_until: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    revoked: Mapped[bool] = mapped_column(default=False)
    uses: Mapped[int] = mapped_column(Integer, default=0)


class Default(Base):
    __tablename__ = "default_record"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    lender_id: Mapped[str] = mapped_column(ForeignKey("lender.id"), index=True)
    borrower: Mapped[str] = mapped_column(String, index=True)
    account_ref: Mapped[str] = mapped_column(sealed())
    amount: Mapped[str] = mapped_column(sealed())
    currency: Mapped[str] = mapped_column(sealed())
    default_on: Mapped[str] = mapped_column(sealed())
    days_past_due: Mapped[str] = mapped_column(sealed())
    status: Mapped[str] = mapped_column(String, default="default")


class UsedToken(Base):
    __tablename__ = "used_token"
    jti: Mapped[str] = mapped_column(String, primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class AuditRow(Base):
    __tablename__ = "audit_row"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    lender_id: Mapped[str] = mapped_column(String)
    action: Mapped[str] = mapped_column(String)
    detail: Mapped[str] = mapped_column(Text)
    previous: Mapped[str] = mapped_column(String)
    digest: Mapped[str] = mapped_column(String)


engine = create_async_engine(URL, pool_size=8, max_overflow=8)
new_session = async_sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


async def session() -> AsyncIterator[AsyncSession]:
    async with new_session() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]


async def caller(request: Request, db: Session) -> Lender:
    """Authenticate: decode the token with the lender's key, compare the body's digest, use up the jti."""
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    try:
        lender = await db.get(Lender, jwt.get_unverified_claims(token).get("iss", ""))
        if lender is None or lender.status != "active":
            raise HTTPException(401, "unknown lender")
        claims = jwt.decode(token, lender.public_pem, algorithms=["ES256"], audience=AUDIENCE)
    except JWTError as error:
        raise HTTPException(401, "bad token") from error
    if claims.get("body") != hashlib.sha256(await request.body()).hexdigest():
        raise HTTPException(401, "body changed")
    db.add(UsedToken(jti=f"{lender.id}:{claims['jti']}", expires_at=datetime.fromtimestamp(claims["exp"], UTC)))
    try:
        await db.flush()
    except IntegrityError as error:
        raise HTTPException(401, "replayed") from error
    return lender


Caller = Annotated[Lender, Depends(caller)]


def borrower_hash(identifier: str) -> str:
    return hmac.new(SECRET.encode(), identifier.encode(), hashlib.sha256).hexdigest()


async def audit(db: AsyncSession, lender: Lender, action: str, detail: dict[str, Any]) -> None:
    """Append to the chain. The table is locked, because a lock on the last row alone lets two rows share a parent."""
    await db.execute(text("LOCK TABLE audit_row IN SHARE ROW EXCLUSIVE MODE"))
    last = (await db.execute(select(AuditRow).order_by(AuditRow.id.desc()).limit(1))).scalar_one_or_none()
    previous = last.digest if last else ""
    written = json.dumps(detail, sort_keys=True)
    digest = hashlib.sha256(f"{previous}|{lender.id}|{action}|{written}".encode()).hexdigest()
    row = AuditRow(
        at=datetime.now(UTC), lender_id=lender.id, action=action, detail=written, previous=previous, digest=digest
    )
    db.add(row)


def answer(body: dict[str, Any], lender: Lender, status: int = 200) -> Response:
    content = json.dumps(body).encode()
    claims = {"aud": lender.id, "iat": int(datetime.now(UTC).timestamp()), "body": hashlib.sha256(content).hexdigest()}
    signature = jwt.encode(claims, SIGNING_PEM, algorithm="ES256")
    return Response(content, status, media_type="application/json", headers={"X-Signature": signature})


class QueryIn(BaseModel):
    identifier: str
    purpose: str
    consent_id: str


class DefaultIn(BaseModel):
    identifier: str
    account_ref: str
    amount: str
    currency: str
    default_on: date
    days_past_due: int


@app.post("/query")
async def query(body: QueryIn, lender: Caller, db: Session) -> Response:
    borrower = borrower_hash(body.identifier)
    consent = (
        await db.execute(select(Consent).where(Consent.id == body.consent_id).with_for_update())
    ).scalar_one_or_none()
    if consent is None or consent.lender_id != lender.id or consent.borrower != borrower:
        raise HTTPException(403, "no consent")
    if consent.revoked or consent.purpose != body.purpose or consent.valid_until <= datetime.now(UTC):
        raise HTTPException(403, "consent does not cover this")
    consent.uses += 1
    found = (await db.execute(select(Default).where(Default.borrower == borrower))).scalars().all()
    records = [
        {
            "own": d.lender_id == lender.id,
            "amount": d.amount,
            "currency": d.currency,
            "default_on": d.default_on,
            "days_past_due": int(d.days_past_due),
            "status": d.status,
        }
        for d in found
    ]
    told = {"query_id": str(uuid.uuid4()), "match": bool(records), "records": records}
    await audit(db, lender, "query", {"consent": consent.id, "records": len(records)})
    await db.commit()
    return answer(told, lender)


@app.post("/default", status_code=201)
async def submit(body: DefaultIn, lender: Caller, db: Session) -> Response:
    record = Default(
        id=str(uuid.uuid4()),
        lender_id=lender.id,
        borrower=borrower_hash(body.identifier),
        account_ref=body.account_ref,
        amount=body.amount,
        currency=body.currency,
        default_on=body.default_on.isoformat(),
        days_past_due=str(body.days_past_due),
    )
    db.add(record)
    await audit(db, lender, "submit", {"record": record.id})
    await db.commit()
    return answer({"record_id": record.id, "status": record.status}, lender, 201)
