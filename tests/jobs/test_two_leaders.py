"""Two workers that both believe to lead: the lock does not keep them apart here, only the table's key does."""

import asyncio
import secrets
from collections import Counter

import sqlalchemy.exc
from sqlalchemy import select
from tests.fixtures.service import RunningService, running_service

from creditshare.audit.models import audit_checkpoint
from creditshare.audit.rebuild import rebuild
from creditshare.audit.sequencer import Integrated, Sequencer
from creditshare.composition import keyring_file, log_signer
from creditshare.storage.embedded import EmbeddedPostgres
from creditshare.storage.engine import Database
from creditshare.wire.leaf import build_leaf

ROUNDS = 20
EVENTS = 30


async def queue(database: Database) -> list[str]:
    """Queue events, each in a transaction of its own, so that some come while the leaders are at it."""
    made = []
    for _ in range(EVENTS):
        async with database.writing() as session:
            found = await session.run("SELECT gen_random_uuid() AS id", {})
            event_id = str(found.scalar_one())
            leaf = build_leaf(
                event_id=f"evt_{event_id}", at=1, c_meta=secrets.token_bytes(32), c_subj=b"", c_body=bytes(32)
            )
            await session.run(
                "INSERT INTO audit_event (event_id, leaf, leaf_hash)"
                " VALUES (%(id)s, %(leaf)s, sha256('\\x00'::bytea || %(leaf)s))",
                {"id": event_id, "leaf": leaf},
            )
            await session.commit()
        made.append(event_id)
    return made


async def lead(database: Database, sequencer: Sequencer, outcomes: Counter[str]) -> Integrated | None:
    try:
        async with database.writing() as session:
            done = await sequencer.integrate(session)
    except sqlalchemy.exc.IntegrityError:
        outcomes["fenced"] += 1
        return None
    outcomes["integrated" if done.leaves else "nothing"] += 1
    return done


def test_two_leaders_at_once_leave_no_gap_and_nothing_twice(postgres: EmbeddedPostgres, template: str) -> None:
    with running_service(postgres, template, with_worker=False) as service:
        events, outcomes = asyncio.run(led_by_two(service))
        assert len(set(events)) == ROUNDS * EVENTS
        # Both did come to work at once, or this would show nothing.
        assert outcomes["fenced"] > 0, outcomes
        with service.superuser() as database:
            rows = database.execute("SELECT idx, event_id FROM audit_leaf ORDER BY idx").fetchall()
            assert database.execute("SELECT count(*) FROM audit_pending").fetchone() == (0,)
        assert [row[0] for row in rows] == list(range(len(rows)))
        assert Counter(str(row[1]) for row in rows) >= Counter(events)


async def led_by_two(service: RunningService) -> tuple[list[str], Counter[str]]:
    signer = log_signer(keyring_file(service.settings).load(), service.services.issuer)
    database = Database(str(service.settings.worker_database_url), role="creditshare_worker", pool_size=6)
    leaders = [Sequencer(origin=signer.name, signer=signer, lock=number) for number in (1, 2)]
    outcomes: Counter[str] = Counter()
    events: list[str] = []
    try:
        for _ in range(ROUNDS):
            queued = asyncio.create_task(queue(database))
            await asyncio.gather(*(lead(database, one, outcomes) for one in leaders for _ in range(4)))
            events += await queued
        while (done := await lead(database, leaders[0], outcomes)) is None or done.leaves:
            pass
        async with database.reading() as session:
            rebuilt = await rebuild(session, verifier=signer.verifier)
            found = await session.execute(select(audit_checkpoint.c.size))
            assert rebuilt.checkpoints == len(found.all())
        return events, outcomes
    finally:
        await database.close()
