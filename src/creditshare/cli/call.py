"""``creditshare call``: any signed request, with every claim and every check explained."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from creditshare.cli.options import AsJson, KeyFile, ServiceUrl, client, parse_json, printable, read_text
from creditshare.client.bank import Client
from creditshare.client.core import ERROR_STATUS, SignedRequest
from creditshare.client.explain import Line, explain_answer, explain_request
from creditshare.client.flow import Received


def call(
    method: Annotated[str, typer.Argument(help="GET, POST …")],
    path: Annotated[str, typer.Argument(help="Such as /v1/me, with its query string.")],
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    data: Annotated[str | None, typer.Option("--body", help="JSON body, or @file.")] = None,
    key: Annotated[
        str | None, typer.Option("--idempotency-key", help="Repeat an earlier request's key to get its answer again.")
    ] = None,
    if_match: Annotated[
        str | None, typer.Option("--if-match", help="The ETag of what is changed, quotes included.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say, on standard error, what was signed and which checks hold.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Sign and send any request, once, and check the answer.

    The answer's body goes to standard output as it came. Status 0: answered; 1: refused; 3: the answer does not hold.
    """
    path, _, query_string = path.partition("?")
    source = Path(data[1:]) if data and data.startswith("@") else None
    text = data if source is None else read_text(source)
    body = None if text is None else parse_json(text, of=str(source or "--body"))
    with client(url, key_file) as service:
        request = service.sign(method.upper(), path, query=query_string, data=body, key=key, if_match=if_match)
        got = service.transmit(request)
        lines = _explained(service, request, got) if explain else []
        if not as_json:
            for line in lines:
                typer.echo(printable(str(line)), err=True)
        service.session.check(request, got)
    _print(got, lines, as_json=as_json)
    if got.status >= ERROR_STATUS:
        raise typer.Exit(1)


def _explained(service: Client, request: SignedRequest, got: Received) -> list[Line]:
    session = service.session
    return explain_request(request) + explain_answer(
        request,
        got,
        issuer=service.issuer,
        member_id=session.signer.member_id,
        keys=session.service.keys,
        pinned=session.pins is not None,
        now=int(time.time()),
    )


def _print(got: Received, lines: list[Line], *, as_json: bool) -> None:
    text = got.body.decode(errors="replace")
    if not as_json:
        typer.echo(printable(text) if sys.stdout.isatty() else text)
        return
    try:
        body: Any = json.loads(text)
    except ValueError:
        body = text or None
    result = {"status": got.status, "body": body, "explained": [line.to_dict() for line in lines]}
    typer.echo(json.dumps(result))
