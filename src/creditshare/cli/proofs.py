"""Checking offline: no server, no database, only files and public keys."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress

from creditshare.cli.options import (
    DATA_VARIABLE,
    PROFILE_VARIABLE,
    AsJson,
    KeyFile,
    ServiceUrl,
    client,
    read_bytes,
    read_json,
    read_text,
    show,
)
from creditshare.client.anchors import check_anchors
from creditshare.client.bank import Client
from creditshare.client.core import parse_jwks
from creditshare.client.evidence import Evidence, bare_receipt
from creditshare.client.growth import check_growth, check_order
from creditshare.client.mirror import check, mirror, trusted_key, trusted_policy
from creditshare.client.profile import Profile
from creditshare.client.promises import check_promises
from creditshare.crypto.timestamps import StampRoots
from creditshare.errors import ConfigurationError, Malformed, VerificationFailed
from creditshare.tlog.checkpoint import open_checkpoint
from creditshare.tlog.note import Verifier
from creditshare.tlog.policy import TrustPolicy
from creditshare.tlog.proof import InclusionProof
from creditshare.wire.instants import spell_instant

OWN: Final = "The service's own database"

MirrorKey = Annotated[
    str | None, typer.Option("--vkey", help="The log's verifier key, as you know it; the folder keeps it.")
]

PolicyFile = Annotated[
    Path | None,
    typer.Option("--policy", help="Also ask for cosignatures: a C2SP tlog-policy of witnesses.", show_default=False),
]

ReaderFile = Annotated[
    Path | None,
    typer.Option("--reader", help="Your token for a log that is not open: what `log token` printed.", dir_okay=False),
]

log = typer.Typer(no_args_is_help=True, help="Verify the audit log on your own machine.")


@log.command("verify-proof")
def verify_proof(
    file: Annotated[Path, typer.Argument(help="An inclusion proof as the service gave it (JSON).")],
    vkey: Annotated[str, typer.Option(help="The log's verifier key, as discovery shows it.")],
    policy: PolicyFile = None,
    as_json: AsJson = False,
) -> None:
    """Check that a leaf is in the log, against the signed checkpoint inside the proof."""
    proof = InclusionProof.from_json(read_bytes(file))
    checkpoint = proof.verify([Verifier.parse(vkey)])
    by = _cosigned(proof.checkpoint, policy)
    show(
        {"index": proof.index, "size": checkpoint.size, "origin": checkpoint.origin, "cosigned": by, "holds": True},
        as_json=as_json,
        line=f"holds: leaf {proof.index} of {checkpoint.size}, checkpoint signed by"
        f" {', '.join([checkpoint.origin, *by])}",
    )


@log.command("verify-checkpoint")
def verify_checkpoint(
    file: Annotated[Path, typer.Argument(help="A checkpoint, as /log/v1/cosigned-checkpoint gave it.")],
    vkey: Annotated[str, typer.Option(help="The log's verifier key, as you know it from elsewhere.")],
    policy: PolicyFile = None,
    as_json: AsJson = False,
) -> None:
    """Check who signed a checkpoint: the log, and as many witnesses as the policy asks for."""
    checkpoint = open_checkpoint(read_bytes(file), [Verifier.parse(vkey)])
    by = _cosigned(read_text(file), policy)
    show(
        {"size": checkpoint.size, "root": checkpoint.root.hex(), "cosigned": by, "holds": True},
        as_json=as_json,
        line=f"holds: {checkpoint.size} leaves, signed by {', '.join([checkpoint.origin, *by])}",
    )


def _cosigned(note: str, policy: Path | None) -> list[str]:
    """Return who of a policy cosigned a checkpoint, and when; fewer than it asks for do not verify."""
    if policy is None:
        return []
    try:
        found = TrustPolicy.parse(read_bytes(policy)).require(note)
    except Malformed as error:
        raise ConfigurationError(f"{policy}: {error}") from error
    return [f"{one.witness.name} at {datetime.fromtimestamp(one.at, UTC):%Y-%m-%dT%H:%M:%SZ}" for one in found]


@log.command("verify-anchor")
def verify_anchor(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint, a signed note.")],
    anchor: Annotated[Path, typer.Argument(help="What /audit/v1/anchors gave for its size, or one token in DER.")],
    vkey: Annotated[str, typer.Option(help="The log's verifier key, as you know it from elsewhere.")],
    certificates: Annotated[Path, typer.Option(help="The roots of the authorities that you trust, in PEM.")],
    as_json: AsJson = False,
) -> None:
    """Check when a checkpoint was there at the latest, by the stamp of a time-stamping authority (RFC 3161).

    Needs rfc3161-client (the extra `anchors`). `openssl ts -verify -token_in` checks the same token without it.
    """
    try:
        roots = StampRoots.parse(read_bytes(certificates))
    except Malformed as error:
        raise ConfigurationError(f"{certificates}: {error}") from error
    signed = open_checkpoint(read_bytes(checkpoint), [Verifier.parse(vkey)])
    shown = check_anchors(read_bytes(anchor), signed, roots)
    first = min(one.at for one in shown)
    show(
        {"size": signed.size, "root": signed.root.hex(), "time": spell_instant(first), "holds": True},
        as_json=as_json,
        line=f"holds: the {signed.size} leaves of {signed.origin} were there at {spell_instant(first)}",
    )


@log.command("verify-receipt")
def verify_receipt(
    file: Annotated[Path, typer.Argument(help="An evidence file, or the value of an answer's header CS-Signature.")],
    request: Annotated[Path | None, typer.Option(help="The request's token, for a bare CS-Signature.")] = None,
    request_body: Annotated[Path | None, typer.Option(help="The request's body, if it had one.")] = None,
    answer_body: Annotated[Path | None, typer.Option(help="The answer's body, as it came.")] = None,
    status: Annotated[int, typer.Option(help="The answer's status.")] = 200,
    jwks: Annotated[Path | None, typer.Option(help="The service's keys, as /.well-known/jwks.json shows them.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check a receipt offline: who signed it, that it is for exactly this exchange, and what its leaf commits to.

    It shows that the service promised the leaf; that it kept the promise is shown by `verify-proof` or, with both
    together, `verify-evidence`.
    """
    text = read_text(file).strip()
    if text.startswith("{"):
        receipt = Evidence.load(file).receipt()
    elif request is None or jwks is None:
        raise ConfigurationError("a bare CS-Signature needs --request and --jwks, and the bodies where there were any")
    else:
        receipt = bare_receipt(
            text,
            request_token=read_text(request).strip(),
            request_body=read_bytes(request_body) if request_body else b"",
            answer_body=read_bytes(answer_body) if answer_body else b"",
            status=status,
            jwks=read_json(jwks),
        )
    shown = receipt.verify()
    show({"holds": True, "shown": shown}, as_json=as_json, line="\n".join(shown))


@log.command("verify-consistency")
def verify_consistency(
    old: Annotated[Path, typer.Argument(help="The earlier checkpoint, a signed note.")],
    new: Annotated[Path, typer.Argument(help="The later checkpoint.")],
    vkey: Annotated[str, typer.Option(help="The log's verifier key, as you know it from elsewhere or pinned it.")],
    proof: Annotated[Path | None, typer.Option(help="The proof, as /audit/v1/proof/consistency gave it.")] = None,
    url: Annotated[str | None, typer.Option(help="Fetch the proof here instead.")] = None,
    reader: ReaderFile = None,
    as_json: AsJson = False,
) -> None:
    """Check that the log only grew: everything in the earlier checkpoint is unchanged in the later one."""
    earlier, later = (open_checkpoint(read_text(file), [Verifier.parse(vkey)]) for file in (old, new))
    check_order(earlier, later)
    if (proof is None) == (url is None):
        raise ConfigurationError("name either --proof FILE or --url URL")
    if proof is not None:
        document = read_json(proof)
    else:
        with Client(url or "", None) as service:
            asked = f"/audit/v1/proof/consistency?from={earlier.size}&to={later.size}"
            document = service.document(asked, reader=_token(reader))
    check_growth(earlier, later, document)
    show(
        {"from": earlier.size, "to": later.size, "origin": later.origin, "holds": True},
        as_json=as_json,
        line=f"holds: {later.origin} grew from {earlier.size} to {later.size} leaves and changed none",
    )


@log.command("mirror")
def mirror_log(
    url: Annotated[str, typer.Argument(help="The service's public address, or the log's own (…/log/v1).")],
    folder: Annotated[Path, typer.Argument(help="Where the copy is kept.", file_okay=False)],
    vkey: MirrorKey = None,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", help="Believe only what these witnesses cosigned (C2SP tlog-policy); kept likewise."),
    ] = None,
    reader: ReaderFile = None,
    as_json: AsJson = False,
) -> None:
    """Fetch what the log shows beyond what the folder holds, and check all of it, from the entries up.

    Run it again and again, from cron for instance: it goes on where it was, and a log that shrank, changed what it
    showed before or shows you another past than it signed ends it with status 3 and the two signed notes side by side.
    The folder has the layout of C2SP tlog-tiles; other tools read it as it is. What does not hold is not kept, but for
    the signed note; a file that was spoilt later is named: remove it to fetch it anew.
    """
    verifier = trusted_key(folder, vkey)
    trusted = trusted_policy(folder, None if policy is None else read_bytes(policy))
    with Progress("{task.description}", BarColumn(), MofNCompleteColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("fetching", total=None)
        got = mirror(
            url,
            folder,
            verifier,
            policy=trusted,
            reader=_token(reader),
            tell=lambda done, of: progress.update(task, completed=done, total=of),
        )
    now = got.checkpoint.size
    show(
        {"before": got.before, "size": now, "root": got.checkpoint.root.hex(), "files": got.files, "holds": True},
        as_json=as_json,
        line=f"holds: {now} entries, {now - got.before} of them new, {got.files} files fetched",
    )


@log.command("token")
def token(key_file: KeyFile = None, url: ServiceUrl = None, as_json: AsJson = False) -> None:
    """Print the token, KID:SECRET, by which your tools read a log that is not open to anyone.

    It ends with the key that asks. Keep it in a file for --reader. For curl, a file with `user = "TOKEN"` after -K;
    other tools take it as HTTP Basic.
    """
    with client(url, key_file) as service:
        got = service.call("GET", "/v1/me/log-token").data
    show(got, as_json=as_json, line=f"{got['user']}:{got['password']}")


def _token(file: Path | None) -> str | None:
    return None if file is None else read_text(file).strip()


@log.command("fsck")
def fsck(
    folder: Annotated[
        Path | None, typer.Argument(help="A mirror.", exists=True, file_okay=False, show_default=False)
    ] = None,
    vkey: MirrorKey = None,
    database: Annotated[
        bool, typer.Option("--database", help="The service's own database instead of a mirror.", rich_help_panel=OWN)
    ] = False,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(help="A checkpoint that somebody else kept; may be repeated.", rich_help_panel=OWN),
    ] = None,
    receipts: Annotated[
        Path | None, typer.Option(help="A folder of evidence files.", exists=True, file_okay=False, rich_help_panel=OWN)
    ] = None,
    data: Annotated[
        Path, typer.Option(help="Folder of keyring and embedded database.", rich_help_panel=OWN, envvar=DATA_VARIABLE)
    ] = Path("creditshare-data"),
    as_json: AsJson = False,
) -> None:
    """Check a whole log, and name all that does not hold.

    `log fsck DIR` checks a mirror without any server: every entry, tile, the root, and every checkpoint that was ever
    seen. `log fsck --database` is for the operator: thirteen checks of what the database holds, from the entries up to
    the business rows that they speak of; the service may run on. Without --checkpoint it cannot see that the end of
    the log was taken away together with its newest checkpoints.
    """
    if database == (folder is not None):
        raise ConfigurationError("name either the folder of a mirror or --database")
    if database:
        from creditshare.cli import service_log  # noqa: PLC0415  the service itself, which a member does not load

        service_log.fsck(data, held=checkpoint or [], receipts=receipts, as_json=as_json)
        return
    checked = check(folder or Path(), trusted_key(folder or Path(), vkey))
    show(
        {"size": checked.checkpoint.size, "root": checked.checkpoint.root.hex(), "holds": True},
        as_json=as_json,
        line=f"holds: {checked.checkpoint.size} entries under {checked.earlier} signed checkpoints of"
        f" {checked.checkpoint.origin}",
    )


@log.command("check-receipts")
def check_receipts(
    receipts: Annotated[Path, typer.Argument(help="A folder of evidence files.", exists=True, file_okay=False)],
    mirrored: Annotated[Path, typer.Option("--mirror", help="A mirror of the log.", exists=True, file_okay=False)],
    vkey: MirrorKey = None,
    as_json: AsJson = False,
) -> None:
    """Check that the log kept what your receipts promise: each of their leaves is in the mirror, or not due yet."""
    found = check_promises(receipts, mirrored, check(mirrored, trusted_key(mirrored, vkey)))
    count = {state: sum(one.state == state for one in found) for state in ("kept", "waits", "broken")}
    broken = [
        f"{one.file}: {one.event_id} was promised and is not in the log" for one in found if one.state == "broken"
    ]
    if broken:
        raise VerificationFailed("\n".join(broken))
    show(
        {**count, "holds": True},
        as_json=as_json,
        line=f"holds: {count['kept']} leaves are in the log, {count['waits']} not due when the mirror was made",
    )


def verify_evidence(
    file: Annotated[Path, typer.Argument(help="An evidence package.", exists=True, dir_okay=False)],
    jwks: Annotated[Path | None, typer.Option(help="The service's keys as you know them (JSON Web Key Set).")] = None,
    vkey: Annotated[str | None, typer.Option(help="The log's verifier key as you know it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check an evidence package offline: both signatures, both bodies, the leaf, the inclusion proof.

    Give the keys as you know them, by --jwks and --vkey or in a profile: whoever forges a package can forge the keys
    that lie in it.
    """
    name = os.environ.get(PROFILE_VARIABLE)
    pins = None if name is None else Profile.load(name).pins
    kids = list(parse_jwks(read_json(jwks))) if jwks is not None else pins.service_keys if pins is not None else None
    known = vkey or (pins.log_vkey if pins is not None else None)
    shown = Evidence.load(file).verify(service_kids=kids, log_vkey=known)
    show({"holds": True, "shown": shown}, as_json=as_json, line="\n".join(shown))
