"""A sandbox: moving its business time. Every command asks the service first, and production refuses."""

from typing import Annotated

import typer

from creditshare.cli.options import AsJson, KeyFile, ServiceUrl, client, show
from creditshare.client.bank import Client
from creditshare.errors import ConfigurationError

sandbox = typer.Typer(no_args_is_help=True, help="What only a sandbox may do: move its clock.")


def require_sandbox(service: Client) -> None:
    """Refuse before anything is sent that a production service must not do."""
    if service.discovery.get("environment") != "sandbox":
        raise ConfigurationError(f"{service.issuer} runs in production mode, which has none of the sandbox's commands")


@sandbox.command("advance")
def advance(
    days: Annotated[int, typer.Option(min=1, max=3_660, help="Whole days to move forward; there is no way back.")],
    key_file: KeyFile,
    url: ServiceUrl,
    as_json: AsJson = False,
) -> None:
    """Move a sandbox's business time forward, signed by an operator: notice windows end, consents expire.

    All workers agree at once, restarts keep it, the log records it. Keys and signatures stay with the real clock.
    """
    with client(url, key_file) as service:
        require_sandbox(service)
        done = service.call("POST", "/v1/sandbox/clock", data={"days": days}).data
    line = f"business time is {done['business_time']}, {done['ahead_days']} days ahead"
    show(done, as_json=as_json, line=line)
