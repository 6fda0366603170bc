"""The composition root: everything that all processes share is built here once, from the settings, and nowhere else.

No web framework is loaded with it: the worker lives as long as the service and needs none.
"""

import gc
from datetime import timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from creditshare.access.cursors import Cursors
from creditshare.access.keytable import KeyTable
from creditshare.access.limits import Limits, Pace, Places, Rate, Tallies
from creditshare.access.openings import Openings
from creditshare.access.quotas import Quotas
from creditshare.access.readers import Readers
from creditshare.access.service import Access
from creditshare.api.record_rows import read_row
from creditshare.approvals.repository import ProposalRows
from creditshare.approvals.service import Approvals
from creditshare.audit.sequencer import Sequencer
from creditshare.audit.service import Audit
from creditshare.batches.service import Batches
from creditshare.clock import Clock, SystemClock
from creditshare.consents.service import Consents
from creditshare.crypto.jws import assert_backend
from creditshare.crypto.sealing import derive_key
from creditshare.crypto.timestamps import StampRoots
from creditshare.erasures.service import Erasures
from creditshare.errors import ConfigurationError, Malformed
from creditshare.handback.service import HandBack
from creditshare.indebtedness.service import Indebtedness
from creditshare.jobs.anchors import Anchors
from creditshare.jobs.reports import ReportRuns
from creditshare.jobs.witnesses import Witnesses
from creditshare.keys.custody import Custody
from creditshare.keys.keyring import FileProvider, Keyring, KeyringFile
from creditshare.keys.tombstones import Tombstones
from creditshare.members.keys import MemberKeys
from creditshare.members.service import Members
from creditshare.policy.service import load_policy
from creditshare.reciprocity.service import Reciprocity
from creditshare.records.service import Records
from creditshare.reports.activity import LogCounting
from creditshare.reports.counting import Counting
from creditshare.reports.releases import Releases
from creditshare.reports.repository import CellStore
from creditshare.reports.service import Reports
from creditshare.reports.tally import Tally
from creditshare.reports.told import ToldStore
from creditshare.services import LogHealth, Services
from creditshare.sessions.passkeys import Passkeys
from creditshare.sessions.service import Sessions
from creditshare.settings import Settings
from creditshare.sharing.repository import Questions
from creditshare.sharing.service import Sharing
from creditshare.startup import passphrase_problem, witness_policy
from creditshare.storage.embedded import EmbeddedPostgres
from creditshare.storage.engine import Database
from creditshare.subjects.budgets import Budgets
from creditshare.subjects.service import Subjects
from creditshare.subjects.tokeniser import Tokeniser
from creditshare.tlog.note import Signer
from creditshare.warrants.service import Warrants

ADDRESS_FILE: Final = "public_address"
POSTGRES_FOLDER: Final = "postgres"
WATCHING_CONNECTIONS: Final = 2
"""The key table's and the log watch's own, so that they never wait behind requests."""
COLLECT_AFTER: Final = 10_000
"""New objects, less those that are gone, before the youngest are searched for garbage; Python's own choice is 700."""
DEFAULT_ADDRESS: Final = "http://127.0.0.1:8000"


def embedded_postgres(settings: Settings) -> EmbeddedPostgres:
    """Return the embedded server of a data folder, started or not."""
    return EmbeddedPostgres(settings.data.resolve() / POSTGRES_FOLDER)


def database_url(settings: Settings, role: str) -> str:
    """Return the address for a role: the embedded server's login, or the operator's own.

    In production each role has a login of its own, so that no process can do what another one is there for.
    """
    if settings.database_url is None:
        return embedded_postgres(settings).url(role)
    named = {
        "worker": settings.worker_database_url,
        "owner": settings.owner_database_url,
        "eraser": settings.eraser_database_url,
    }
    address = named.get(role)
    if address is None and role in named and settings.mode == "production":
        raise ConfigurationError(
            f"production needs CREDITSHARE_{role.upper()}_DATABASE_URL: a login of its own for the {role}"
        )
    return address or settings.database_url


def keyring_file(settings: Settings) -> KeyringFile:
    """Return the key file; in production only a sealed one will do."""
    passphrase = None
    if settings.keyring_passphrase_file is not None:
        try:
            passphrase = settings.keyring_passphrase_file.read_bytes().strip()
        except OSError as error:
            raise ConfigurationError(
                f"the passphrase file {settings.keyring_passphrase_file} cannot be read ({error.strerror})"
            ) from error
    elif (problem := passphrase_problem(settings)) is not None:
        raise ConfigurationError(problem)
    return KeyringFile(settings.keyring_path, passphrase=passphrase)


def public_address(settings: Settings, *, write: str | None = None) -> str:
    """Return the issuer. The first start writes it into the data folder; a later mismatch is refused.

    Every signature names the issuer, so a service that changes it would break all evidence.
    """
    file = settings.data / ADDRESS_FILE
    wanted = (settings.public_url or write or "").rstrip("/")
    if file.exists():
        kept = file.read_text().strip()
        if wanted and wanted != kept:
            raise ConfigurationError(f"this data folder belongs to {kept}, not {wanted}; signatures name the address")
        return kept
    if not wanted:
        return DEFAULT_ADDRESS
    if write is not None:
        settings.data.mkdir(parents=True, exist_ok=True)
        file.write_text(wanted + "\n")
    return wanted


def address_known(settings: Settings) -> bool:
    """Whether the issuer is set or was written down, so that ``public_address`` need not assume one."""
    return settings.public_url is not None or (settings.data / ADDRESS_FILE).exists()


def log_signer(keyring: Keyring, issuer: str) -> Signer:
    """Return the log's Ed25519 signer; the origin is the issuer without its scheme."""
    origin = issuer.partition("://")[2] + "/log"
    return Signer(origin, Ed25519PrivateKey.from_private_bytes(keyring.secret("log")))


def sequencer(settings: Settings) -> Sequencer:
    """Return the sequencer that the worker runs."""
    signer = log_signer(keyring_file(settings).load(), public_address(settings))
    return Sequencer(origin=signer.name, signer=signer)


def witnesses(settings: Settings, database: Database) -> Witnesses | None:
    """Return what the worker asks witnesses with, under its own role."""
    policy = witness_policy(settings)
    if policy is None:
        return None
    verifier = log_signer(keyring_file(settings).load(), public_address(settings)).verifier
    return Witnesses(database, verifier=verifier, policy=policy, poll_s=settings.witness_poll_s)


def stamp_roots(settings: Settings) -> StampRoots | None:
    """Return the roots that time-stamps must lead to, or nothing where none are named."""
    file = settings.timestamp_certificates_file
    if file is None:
        return None
    try:
        return StampRoots.parse(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"the file of certificates {file} cannot be read ({error.strerror})") from error
    except Malformed as error:
        raise ConfigurationError(f"the file of certificates {file}: {error}") from error


def anchors(settings: Settings, database: Database) -> Anchors | None:
    """Return what the worker has checkpoints stamped with, under its own role; nothing where no authority is named."""
    roots = stamp_roots(settings)
    if settings.timestamp_url is None or roots is None:
        return None
    verifier = log_signer(keyring_file(settings).load(), public_address(settings)).verifier
    return Anchors(
        database, verifier=verifier, url=settings.timestamp_url, roots=roots, every_s=settings.timestamp_every_s
    )


def cell_store(settings: Settings) -> CellStore:
    """Return what seals and opens the cells of the reports."""
    keyring = keyring_file(settings).load()
    name_key = derive_key(keyring.secret("reference"), salt=b"", info=b"creditshare/report-part")
    return CellStore(keyring.box("service"), name_key)


def tally(settings: Settings) -> Tally:
    """Return what sums up as of when each borrower was counted last."""
    secret = keyring_file(settings).load().secret("reference")
    return Tally(derive_key(secret, salt=b"", info=b"creditshare/report-counted"))


def told_store(settings: Settings) -> ToldStore:
    """Return what keeps the told documents of the reports."""
    return ToldStore(keyring_file(settings).load().row_seals())


def reports(settings: Settings, database: Database, services: Services) -> ReportRuns:
    """Return what the worker counts and tells with: records are opened as the service opens them."""
    store, told, sums = cell_store(settings), told_store(settings), tally(settings)
    reading = services.database
    return ReportRuns(
        database=database,
        counting=Counting(
            database=database, reading=reading, subjects=services.subjects, store=store, told=told, tally=sums
        ),
        log_counting=LogCounting(
            database=database,
            reading=reading,
            audit=services.audit,
            members=services.members,
            policy=services.policy,
            store=store,
        ),
        releases=Releases(
            database=database,
            policy=services.policy,
            store=store,
            told=told,
            tally=sums,
            audit=services.audit,
            every=timedelta(seconds=settings.reports_told_every_s),
        ),
        every_s=settings.reports_every_s,
    )


async def build_services(settings: Settings, *, clock: Clock | None = None, url: str | None = None) -> Services:
    """Wire all services against a migrated database."""
    assert_backend()
    clock = clock or SystemClock()
    keyring = keyring_file(settings).load()
    issuer = public_address(settings)
    policy_of_witnesses = witness_policy(settings)  # before anything is open that would have to be closed
    address = url or database_url(settings, "app")
    database = Database(address, role="creditshare_app", pool_size=settings.pool_size, pool_wait_s=settings.pool_wait_s)
    watching = Database(address, role="creditshare_app", pool_size=WATCHING_CONNECTIONS)
    async with database.reading() as session:
        policy = await load_policy(session, keyring.row_seals())
    await database.open()
    audit = Audit(opening_box=keyring.box("log_opening"), merge_delay_s=settings.merge_delay_s)
    versions = {int(v): keyring.tokeniser_key(int(v)) for v in keyring.versions("tokeniser")}
    tokeniser = Tokeniser(versions, current=int(keyring.current("tokeniser")), budgets=Budgets(keyring.row_seals()))
    custody = Custody(
        FileProvider(keyring_file(settings)), cache_entries=settings.dek_cache_entries, cache_s=settings.dek_cache_s
    )
    subjects = Subjects(custody=custody, tokeniser=tokeniser, pepper=keyring.secret("pepper"))
    reference_key = keyring.secret("reference")
    consents = Consents(subjects=subjects, policy=policy, reference_key=reference_key)
    tombstones = Tombstones(settings.tombstones_path)
    member_keys = MemberKeys(audit=audit, tombstones=tombstones, seals=keyring.row_seals())
    approvals = Approvals(ProposalRows(keyring.row_seals()))
    members = Members(
        environment=settings.mode,
        service_box=keyring.box("service"),
        default_evaluations_per_day=settings.evaluations_per_day,
        seals=keyring.row_seals(),
        keys=member_keys,
        approvals=approvals,
    )
    key_table = KeyTable(
        watching,
        rows=members.rows,
        tombstones=tombstones,
        poll_s=settings.key_table_poll_s,
        stale_s=settings.key_table_stale_s,
    )
    access = Access(
        key_table=key_table,
        issuer=issuer,
        skew_s=settings.skew_s,
        clock=clock,
        fingerprint_key=keyring.secret("fingerprint"),
        service_box=keyring.box("service"),
        limits=process_limits(settings),
        quotas=Quotas(database, defaults={"queries": settings.queries_per_day, "reports": settings.reports_per_day}),
    )
    records = Records(
        database=database,
        access=access,
        subjects=subjects,
        audit=audit,
        policy=policy,
        reference_key=reference_key,
        skew_s=settings.skew_s,
    )
    sharing = Sharing(
        questions=Questions(database),
        access=access,
        subjects=subjects,
        records=records,
        audit=audit,
        policy=policy,
        handle_key=keyring.secret("handle"),
        skew_s=settings.skew_s,
    )
    warrants = Warrants(
        members=members,
        subjects=subjects,
        records=records,
        sharing=sharing,
        approvals=approvals,
        policy=policy,
        seals=keyring.row_seals(),
    )
    erasures = Erasures(subjects=subjects, approvals=approvals)
    approvals.take([*members.kinds(), warrants.kind(), *erasures.kinds()], role_of=members.role_of)
    members.when_stopped(warrants.end_all_of)
    indebtedness = Indebtedness(subjects=subjects, consents=consents, records=records, policy=policy)
    return Services(
        settings=settings,
        clock=clock,
        issuer=issuer,
        signing_key=keyring.signing_key(),
        service_keys=keyring.signing_keys(),
        log_verifier=log_signer(keyring, issuer).verifier,
        log_health=LogHealth(settings.merge_delay_s, stamped=settings.timestamp_url is not None),
        witness_policy=policy_of_witnesses,
        database=database,
        watching=watching,
        policy=policy,
        audit=audit,
        key_table=key_table,
        access=access,
        cursors=Cursors(derive_key(keyring.secret("fingerprint"), salt=b"", info=b"creditshare/cursor")),
        readers=Readers(
            derive_key(keyring.secret("fingerprint"), salt=b"", info=b"creditshare/log-reader"),
            access=access,
            clock=clock,
            everyone=settings.log_audience == "anyone",
        ),
        openings=Openings(audit=audit, subjects=subjects),
        approvals=approvals,
        members=members,
        member_keys=member_keys,
        tokeniser=tokeniser,
        subjects=subjects,
        consents=consents,
        records=records,
        sharing=sharing,
        indebtedness=indebtedness,
        batches=Batches(
            database=database,
            records=records,
            members=members,
            member_keys=member_keys,
            audit=audit,
            service_box=keyring.box("service"),
            read_row=read_row,
        ),
        reciprocity=Reciprocity(
            database=database,
            members=members,
            member_keys=member_keys,
            subjects=subjects,
            records=records,
            audit=audit,
            policy=policy,
            seals=keyring.row_seals(),
        ),
        hand_back=HandBack(
            database=database,
            members=members,
            member_keys=member_keys,
            subjects=subjects,
            records=records,
            consents=consents,
            sharing=sharing,
            indebtedness=indebtedness,
        ),
        warrants=warrants,
        erasures=erasures,
        reports=Reports(
            members=members,
            policy=policy,
            told=ToldStore(keyring.row_seals()),
            signing_key=keyring.signing_key(),
            issuer=issuer,
        ),
        sessions=Sessions(
            key_table=key_table,
            box=keyring.box("service"),
            form_key=derive_key(keyring.secret("fingerprint"), salt=b"", info=b"creditshare/console-form"),
        ),
        passkeys=Passkeys(key_table=key_table, tombstones=tombstones, seals=keyring.row_seals()),
    )


def process_limits(settings: Settings) -> Limits:
    """Return the bounds of one worker process."""
    return Limits(
        members=Pace(Rate(settings.member_requests_per_s, settings.member_burst_requests)),
        strangers=Pace(Rate(settings.stranger_failures_per_minute / 60, settings.stranger_failures_per_minute)),
        places=Places(total=settings.max_in_flight, each=settings.member_in_flight),
        tallies=Tallies(),
    )


def spare_the_collector() -> None:
    """Keep what was made at the start out of every later search for garbage, and search less often.

    All code and tables live as long as the process. Walking them again and again stops every request for 40 to 80 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
