"""Checking offline: no server, no database, only files and public keys."""

from pathlib import Path
from typing import Annotated

import typer

from creditshare.cli.options import AsJson, show
from creditshare.client.evidence import Evidence
from creditshare.tlog.note import Verifier
from creditshare.tlog.proof import InclusionProof

log = typer.Typer(no_args_is_help=True, help="Verify the audit log on your own machine.")


@log.command("verify-proof")
def verify_proof(
    file: Annotated[Path, typer.Argument(help="An inclusion proof as the service gave it (JSON).")],
    vkey: Annotated[str, typer.Option(help="The log's verifier key, as discovery shows it.")],
    as_json: AsJson = False,
) -> None:
    """Check that a leaf is in the log, against the signed checkpoint inside the proof."""
    proof = InclusionProof.from_json(file.read_bytes())
    checkpoint = proof.verify([Verifier.parse(vkey)])
    show(
        {"index": proof.index, "size": checkpoint.size, "origin": checkpoint.origin, "holds": True},
        as_json=as_json,
        line=f"holds: leaf {proof.index} of {checkpoint.size}, checkpoint signed by {checkpoint.origin}",
    )


def verify_evidence(
    file: Annotated[Path, typer.Argument(help="An evidence package.")], as_json: AsJson = False
) -> None:
    """Check an evidence package offline: both signatures, both bodies, the leaf, the inclusion proof."""
    shown = Evidence.load(file).verify()
    show({"holds": True, "shown": shown}, as_json=as_json, line="\n".join(shown))
