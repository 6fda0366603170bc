"""The composition root: everything is built here once, from the settings, and nowhere else."""

import asyncio
import contextlib
import gc
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from creditshare.access.cursors import Cursors
from creditshare.access.keytable import KeyTable
from creditshare.access.limits import Limits, Pace, Places, Rate, Tallies
from creditshare.access.quotas import Quotas
from creditshare.access.service import Access
from creditshare.api.bounds import Bounded
from creditshare.api.openapi import DocumentedApp
from creditshare.api.problems import UNAVAILABLE_RETRY_S, field_errors, framework_code, refused
from creditshare.api.record_rows import read_row
from creditshare.api.requestlog import RequestLog, action_of
from creditshare.api.routes import batches, consents, discovery, documentation, members, queries, records, tokens
from creditshare.api.routes import log as log_routes
from creditshare.api.routes import sandbox as sandbox_routes
from creditshare.api.straight import Straight
from creditshare.audit.sequencer import Sequencer
from creditshare.audit.service import Audit
from creditshare.audit.state import log_state
from creditshare.batches.service import Batches
from creditshare.clock import Clock, SystemClock
from creditshare.consents.service import Consents
from creditshare.crypto.jws import assert_backend
from creditshare.crypto.sealing import derive_key
from creditshare.errors import ConfigurationError, Refused, Unavailable
from creditshare.keys.custody import Custody
from creditshare.keys.keyring import FileProvider, Keyring, KeyringFile
from creditshare.keys.tombstones import Tombstones
from creditshare.members.keys import MemberKeys
from creditshare.members.service import Members
from creditshare.policy.service import load_policy
from creditshare.records.service import Records
from creditshare.services import LogHealth, Services
from creditshare.settings import Settings
from creditshare.sharing.repository import Questions
from creditshare.sharing.service import Sharing
from creditshare.startup import check_database, check_restored, check_seals, check_settings, passphrase_problem, require
from creditshare.storage import schema
from creditshare.storage.embedded import EmbeddedPostgres
from creditshare.storage.engine import Database
from creditshare.subjects.budgets import Budgets
from creditshare.subjects.service import Subjects
from creditshare.subjects.tokeniser import Tokeniser
from creditshare.telemetry import KEY_TABLE_SECONDS, configure_logging
from creditshare.tlog.note import Signer

log = structlog.get_logger()

ADDRESS_FILE: Final = "public_address"
SEALED_FILE: Final = "rows_sealed"
SEALING_REVISION: Final = "0009"
POSTGRES_FOLDER: Final = "postgres"
HEALTH_POLL_S: Final = 1.0
DATABASE_AGAIN_S: Final = 1.0
DATABASE_TRIES: Final = 60
"""A process that starts while the database is away waits about a minute, in which it also heeds no signal to end."""

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


def log_signer(keyring: Keyring, issuer: str) -> Signer:
    """Return the log's Ed25519 signer; the origin is the issuer without its scheme."""
    origin = issuer.partition("://")[2] + "/log"
    return Signer(origin, Ed25519PrivateKey.from_private_bytes(keyring.secret("log")))


def sequencer(settings: Settings) -> Sequencer:
    """Return the sequencer that the worker runs."""
    signer = log_signer(keyring_file(settings).load(), public_address(settings))
    return Sequencer(origin=signer.name, signer=signer)


async def build_services(settings: Settings, *, clock: Clock | None = None, url: str | None = None) -> Services:
    """Wire all services against a migrated database."""
    assert_backend()
    clock = clock or SystemClock()
    keyring = keyring_file(settings).load()
    issuer = public_address(settings)
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
    members = Members(
        environment=settings.mode,
        service_box=keyring.box("service"),
        default_evaluations_per_day=settings.evaluations_per_day,
        seals=keyring.row_seals(),
    )
    member_keys = MemberKeys(audit=audit, tombstones=tombstones, seals=keyring.row_seals())
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
    return Services(
        settings=settings,
        clock=clock,
        issuer=issuer,
        signing_key=keyring.signing_key(),
        service_keys=keyring.signing_keys(),
        log_verifier=log_signer(keyring, issuer).verifier,
        log_health=LogHealth(settings.merge_delay_s),
        database=database,
        watching=watching,
        policy=policy,
        audit=audit,
        key_table=key_table,
        access=access,
        cursors=Cursors(derive_key(keyring.secret("fingerprint"), salt=b"", info=b"creditshare/cursor")),
        members=members,
        member_keys=member_keys,
        tokeniser=tokeniser,
        subjects=subjects,
        consents=consents,
        records=records,
        sharing=Sharing(
            questions=Questions(database),
            access=access,
            subjects=subjects,
            records=records,
            audit=audit,
            policy=policy,
            handle_key=keyring.secret("handle"),
            skew_s=settings.skew_s,
        ),
        batches=Batches(
            database=database,
            records=records,
            members=members,
            member_keys=member_keys,
            audit=audit,
            service_box=keyring.box("service"),
            read_row=read_row,
        ),
    )


def process_limits(settings: Settings) -> Limits:
    """Return the bounds of one worker process."""
    return Limits(
        members=Pace(Rate(settings.member_requests_per_s, settings.member_burst_requests)),
        strangers=Pace(Rate(settings.stranger_failures_per_minute / 60, settings.stranger_failures_per_minute)),
        places=Places(total=settings.max_in_flight, each=settings.member_in_flight),
        tallies=Tallies(),
    )


def upgrade_schema(settings: Settings, keyring: Keyring, *, seal_anew: bool = False) -> None:
    """Bring the schema to this version, and note outside the database that its rows bear seals from now on.

    An administrator of the database could take the seals away, schema and all, and have the next upgrade seal what he
    wrote. So what had seals once gets new ones only where a person says so.
    """
    url, noted = database_url(settings, "owner"), settings.data / SEALED_FILE
    current = schema.current(url)
    if noted.exists() and not seal_anew and current is not None and current < SEALING_REVISION:
        raise ConfigurationError(
            "the rows of this database were sealed before and are not any more: somebody took its schema back."
            " Compare members, keys and policy with the log, then run `creditshare db upgrade --seal-anew`"
        )
    schema.upgrade(url, seals=keyring.row_seals())
    settings.data.mkdir(parents=True, exist_ok=True)
    noted.touch()


async def require_database(settings: Settings, *, restored: bool = True) -> None:
    """Refuse to go on with a database that the checks of ``startup`` find something wrong with."""
    database = Database(database_url(settings, "app"), role="creditshare_app", pool_size=1)
    try:
        require(await check_database(settings, database))
        if restored:
            require(await check_restored(settings, database))
            *refused, _ = await check_seals(database, keyring_file(settings).load().row_seals())
            require(refused)
    finally:
        await database.close()


async def build_checked(settings: Settings) -> Services:
    """Wire all services if everything that ``startup`` checks holds, once the database answers.

    ``serve`` looked at the database before it started this process, so its absence is a passing one. A process that
    failed for it would take all others with it: the server takes a failed start for one that always fails.
    """
    require(check_settings(settings, address=public_address(settings)))
    for _ in range(DATABASE_TRIES):
        try:
            await require_database(settings)
            return await build_services(settings)
        except Unavailable:
            log.warning("service waits for the database")
            await asyncio.sleep(DATABASE_AGAIN_S)
    raise Unavailable("the database does not answer")


async def watch_log(services: Services) -> None:
    """Look at the queue of the log for ever, so that a late log closes the data endpoints; hand over tallies."""
    while True:
        KEY_TABLE_SECONDS.set(services.key_table.age_s)
        with contextlib.suppress(Unavailable):
            async with services.watching.reading() as session:
                services.log_health.saw(await log_state(session))
            await services.access.hand_over_tallies(services.watching)
        await asyncio.sleep(HEALTH_POLL_S)


def spare_the_collector() -> None:
    """Keep what was made at the start out of every later search for garbage, and search less often.

    All code and tables live as long as the process. Walking them again and again stops every request for 40 to 80 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])


def create_app(settings: Settings | None = None, *, services: Services | None = None) -> FastAPI:
    """Build the HTTP service. uvicorn calls this in each worker process; tests pass wired services."""
    configure_logging()
    chosen = services.settings if services else settings or Settings()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        wired = services or await build_checked(chosen)
        app.state.services = wired
        with contextlib.suppress(Unavailable):
            await wired.key_table.reload()
        tasks = [asyncio.create_task(wired.key_table.run()), asyncio.create_task(watch_log(wired))]
        spare_the_collector()
        try:
            yield
        finally:
            gc.unfreeze()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(Unavailable):
                await wired.access.hand_over_tallies(wired.watching)
            await wired.database.close()
            await wired.watching.close()

    app = DocumentedApp(
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    # Routes are tried one after the other, so what is called most comes first; the document has an order of its own.
    for router in (
        queries.router,
        records.router,
        tokens.router,
        consents.router,
        batches.router,
        discovery.router,
        documentation.router,
        log_routes.router,
        members.first_key,
        members.router,
    ):
        app.include_router(router)
    if chosen.mode == "sandbox":
        app.include_router(sandbox_routes.router)
    app.add_middleware(Straight, routers=(queries.router, records.router))
    app.add_middleware(
        Bounded,
        time_limit_s=chosen.request_time_limit_s,
        open_reads=chosen.open_reads_in_flight,
        longer={batches.FILE_PATH: chosen.batch_time_limit_s + chosen.request_time_limit_s},
    )
    app.add_middleware(RequestLog)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _failed)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    return refused(request, error if isinstance(error, Refused) else Refused("internal_error"))


async def _unavailable(request: Request, error: Exception) -> Response:
    log.warning("unavailable", action=action_of(request.scope), kind=type(error).__name__)
    return refused(request, Refused("unavailable", retry_after=UNAVAILABLE_RETRY_S))


async def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        return refused(request, Refused("internal_error"))
    answer = refused(request, Refused(framework_code(error.status_code)))
    answer.headers.update(error.headers or {})  # such as Allow (RFC 9110 section 15.5.6)
    return answer


async def _invalid(request: Request, error: Exception) -> Response:
    fields = field_errors(error.errors()) if isinstance(error, RequestValidationError) else []
    return refused(request, Refused("validation_failed", fields=fields))


async def _failed(request: Request, error: Exception) -> Response:
    log.error("failed", action=action_of(request.scope), kind=type(error).__name__, exc_info=error)
    return refused(request, Refused("internal_error"))


def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document that the application generates, with what exists in a sandbox only."""
    return create_app(Settings(environment="sandbox")).openapi()


def write_json(path: Path, value: object) -> None:
    """Write a committed document: two-space JSON, stable, ending in a newline."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False) + "\n")
