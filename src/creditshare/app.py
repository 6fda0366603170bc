"""The HTTP service: what must hold before it starts, its routes, and what it does beside answering."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from creditshare.api.bodies import field_errors
from creditshare.api.bounds import Bounded
from creditshare.api.openapi import DocumentedApp
from creditshare.api.problems import STATUS, UNAVAILABLE_RETRY_S, framework_code, refused
from creditshare.api.requestlog import RequestLog, action_of
from creditshare.api.routes import (
    batches,
    consents,
    console_access,
    debts,
    discovery,
    documentation,
    erasures,
    members,
    queries,
    records,
    reports,
    tokens,
    warrants,
)
from creditshare.api.routes import log as log_routes
from creditshare.api.routes import sandbox as sandbox_routes
from creditshare.api.spans import Spans, trace_provider
from creditshare.api.straight import Straight
from creditshare.audit.state import log_state
from creditshare.composition import build_services, database_url, keyring_file, public_address, spare_the_collector
from creditshare.console.routes import bank, confirming, desk, entrance, oversight
from creditshare.console.routes import erasures as erasure_pages
from creditshare.console.routes import passkeys as passkey_pages
from creditshare.console.routes import reports as report_pages
from creditshare.console.routes import warrants as warrant_pages
from creditshare.errors import ConfigurationError, Refused, Unavailable
from creditshare.keys.keyring import Keyring
from creditshare.services import Services
from creditshare.settings import Settings
from creditshare.startup import check_database, check_restored, check_seals, check_settings, require
from creditshare.storage import schema
from creditshare.storage.engine import Database
from creditshare.telemetry import KEY_TABLE_SECONDS, REFUSALS, configure_logging

log = structlog.get_logger()

SEALED_FILE: Final = "rows_sealed"
SEALING_REVISION: Final = "0009"
HEALTH_POLL_S: Final = 1.0
DATABASE_AGAIN_S: Final = 1.0
DATABASE_TRIES: Final = 60
"""A process that starts while the database is away waits about a minute, in which it also heeds no signal to end."""


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


async def look_at_log(services: Services) -> None:
    """Note where the log stands and whether it is held."""
    async with services.watching.reading() as session:
        state = await log_state(session)
        cosigned = await services.newest_cosigned(session) if state.size else None
        services.log_health.saw(state, cosigned=cosigned)


async def watch_log(services: Services) -> None:
    """Look at the queue of the log for ever, so that a late log closes the data endpoints; hand over tallies."""
    while True:
        KEY_TABLE_SECONDS.set(services.key_table.age_s)
        with contextlib.suppress(Unavailable):
            await look_at_log(services)
            await services.access.hand_over_tallies(services.watching)
        await asyncio.sleep(HEALTH_POLL_S)


def create_app(settings: Settings | None = None, *, services: Services | None = None) -> FastAPI:
    """Build the HTTP service. uvicorn calls this in each worker process; tests pass wired services."""
    configure_logging()
    chosen = services.settings if services else settings or Settings()
    provider = trace_provider() if chosen.traces else None

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        wired = services or await build_checked(chosen)
        app.state.services = wired
        with contextlib.suppress(Unavailable):
            await wired.key_table.reload()
            await look_at_log(wired)  # a process that starts beside a held log gives no receipt before it knows
        tasks = [asyncio.create_task(wired.key_table.run()), asyncio.create_task(watch_log(wired))]
        for code in STATUS:  # so that the first refusal of a kind is a rise from nought, which an alarm can see
            REFUSALS.labels(code=code)
        if services is None:  # else the process is the caller's
            spare_the_collector()
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(Unavailable):
                await wired.access.hand_over_tallies(wired.watching)
            await wired.database.close()
            await wired.watching.close()
            if provider is not None:
                await asyncio.to_thread(provider.shutdown)  # sends what it still holds

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
        debts.router,
        batches.router,
        discovery.router,
        documentation.router,
        log_routes.router,
        log_routes.for_readers,
        log_routes.for_members,
        members.first_key,
        members.router,
        reports.router,
        warrants.router,
        erasures.router,
        console_access.router,
    ):
        app.include_router(router)
    for pages in (
        entrance.open_pages,
        desk.router,
        bank.router,
        oversight.router,
        report_pages.router,
        warrant_pages.router,
        erasure_pages.router,
        confirming.router,
        passkey_pages.router,
        entrance.router,
    ):
        app.include_router(pages)
    if chosen.mode == "sandbox":
        app.include_router(sandbox_routes.router)
    app.add_middleware(Straight, routers=(queries.router, records.router))
    app.add_middleware(
        Bounded,
        time_limit_s=chosen.request_time_limit_s,
        open_reads=chosen.open_reads_in_flight,
        longer={batches.FILE_PATH: chosen.batch_time_limit_s + chosen.request_time_limit_s},
    )
    app.add_middleware(RequestLog, spans=None if provider is None else Spans(provider))
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
