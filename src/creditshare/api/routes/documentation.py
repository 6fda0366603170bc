"""Pages for people who write clients. They need no internet, no foreign origin and no script but their own."""

from importlib.metadata import distribution
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse, HTMLResponse

from creditshare.api.problem_page import language_of, problem_page
from creditshare.edge.hardening import HARDENED
from creditshare.errors import Refused

router = APIRouter(include_in_schema=False)

OWN: Final = Path(__file__).parent.parent / "static"
SWAGGER_UI: Final = Path(str(distribution("fastapi-offline").locate_file("fastapi_offline/static")))
"""Somebody else's script (Apache License 2.0), taken as the locked package carries it; its Python code is not run."""
ASSETS: Final[dict[str, tuple[Path, str]]] = {
    "swagger-ui-bundle.js": (SWAGGER_UI / "swagger-ui-bundle.js", "text/javascript"),
    "swagger-ui.css": (SWAGGER_UI / "swagger-ui.css", "text/css"),
    "docs.js": (OWN / "docs.js", "text/javascript"),
    "pages.css": (OWN / "pages.css", "text/css"),
}
API_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>creditshare API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
<link rel="stylesheet" href="/docs/assets/pages.css">
</head>
<body>
<header class="bar">
<p>Requests are signed, so none can be sent from this page:
<code>creditshare call METHOD PATH --as KEYFILE --url URL</code> signs and sends any of them and checks the answer.
<a href="/docs/problems">Problem codes</a> · <a href="/openapi.json">OpenAPI document</a></p>
<noscript><p>This page needs its own script; the OpenAPI document does not.</p></noscript>
</header>
<main class="swagger" id="api"></main>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/assets/docs.js"></script>
</body>
</html>
"""


@router.get("/docs")
async def show_api_page() -> Response:
    """Show the whole API."""
    return HTMLResponse(API_PAGE, headers=HARDENED)


@router.get("/docs/problems")
async def show_problem_page(request: Request, lang: Annotated[str | None, Query(max_length=16)] = None) -> Response:
    """Show every problem code: when, whether to retry, what to do; in English or Chinese."""
    language = language_of(lang, request.headers.get("accept-language", ""))
    return HTMLResponse(
        problem_page(language), headers={**HARDENED, "Content-Language": language, "Vary": "Accept-Language"}
    )


@router.get("/docs/assets/{name}")
async def show_asset(name: str) -> Response:
    """Send a file that the pages need; only those named here exist."""
    if name not in ASSETS:
        raise Refused("not_found")
    file, media_type = ASSETS[name]
    return FileResponse(file, media_type=media_type, headers={**HARDENED, "Cache-Control": "max-age=3600"})
