"""What waited for a second person before the table got its name waits on; what was planted stays nobody's."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Json
from tests.fixtures.service import KEYRING

from creditshare.approvals.repository import ProposalRows
from creditshare.storage import schema
from creditshare.storage.embedded import EmbeddedPostgres

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BEFORE = "0020"


def test_open_proposals_keep_their_seals_and_planted_ones_get_none(postgres: EmbeddedPostgres) -> None:
    database, seals = f"t_{uuid4().hex}", KEYRING.row_seals()
    postgres.create_database(database)
    owner = postgres.url("owner", database)
    try:
        schema.upgrade(owner, seals=seals, revision=BEFORE)
        url = postgres.url("superuser", database).replace("postgresql+psycopg", "postgresql")
        with psycopg.connect(url, autocommit=True, row_factory=psycopg.rows.dict_row) as connection:
            member = uuid4()
            connection.execute(
                "INSERT INTO member (member_id, name, role, region, jurisdictions, status, evaluations_per_day,"
                " revision, seal) VALUES (%s, 'Bank', 'lender', 'US', '{US}', 'active', 1, 1, '')",
                [member],
            )
            kept, planted = uuid4(), uuid4()
            for proposal_id in (kept, planted):
                row = proposed(proposal_id, member)
                seal = seals.seal("member_proposal", row) if proposal_id == kept else b"planted"
                names = ", ".join(row)
                places = ", ".join(["%s"] * len(row))
                values = [Json(value) if isinstance(value, dict) else value for value in row.values()]
                connection.execute(
                    f"INSERT INTO member_proposal ({names}, seal) VALUES ({places}, %s)",  # noqa: S608  names of ours
                    [*values, seal],
                )
            schema.upgrade(owner, seals=seals, revision="0021")
            found = {row["proposal_id"]: row for row in connection.execute("SELECT * FROM proposal")}
        rows = ProposalRows(seals)
        assert (rows.holds(found[kept]), rows.holds(found[planted])) == (True, False)
        assert (found[kept]["kind"], found[kept]["about"]) == ("quotas", member)
    finally:
        postgres.drop_database(database)


def proposed(proposal_id: UUID, member: UUID) -> dict[str, Any]:
    """Return the deciding columns of a proposal as they were before."""
    return {
        "proposal_id": proposal_id,
        "member_id": member,
        "action": "quotas",
        "terms": {"queries_per_day": 7},
        "proposed_by": uuid4(),
        "proposed_at": NOW,
        "expires_at": NOW + timedelta(days=14),
        "decided_by": None,
        "decided_at": None,
    }
