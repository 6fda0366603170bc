"""Membership, for operators."""

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from creditshare.cli.commands import commands_at
from creditshare.cli.options import AsJson, KeyFile, ServiceUrl, client, show
from creditshare.client.bank import Client
from creditshare.errors import ConfigurationError

MemberId = Annotated[str, typer.Argument(help="The institution's id, mem_…, as `member list` shows it.")]
Version = Annotated[
    str | None, typer.Option(help="The version that you looked at, of `member show`; default: as it is now.")
]
EvaluationsPerDay = Annotated[int | None, typer.Option(help="Blind evaluations a day.")]
QueriesPerDay = Annotated[int | None, typer.Option(help="Questions a day.")]
ReportsPerDay = Annotated[int | None, typer.Option(help="Reports a day, rows of files included.")]
Jurisdictions = Annotated[
    list[str] | None, typer.Option("--jurisdiction", help="With jurisdictions: a country; name each that shall hold.")
]

Sure = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
IMPACT: Final = (
    "live_keys",
    "consents_to_ask",
    "consents_to_provide",
    "live_records",
    "files_in_progress",
    "proposals_about",
    "proposals_by",
    "questions",
    "warrants",
)

member = typer.Typer(
    cls=commands_at({"hand-back": "creditshare.cli.service_hand_back:make"}),
    no_args_is_help=True,
    help="Institutions: propose, approve, suspend, list.",
)


@member.command("add")
def add(
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    *,
    name: Annotated[str, typer.Option(help="The institution's name.")],
    role: Annotated[str, typer.Option(help="lender, regulator or operator.")],
    region: Annotated[str, typer.Option(help="ISO 3166-2 code, such as US-CA or CN.")],
    jurisdiction: Annotated[list[str] | None, typer.Option(help="Countries it may report in; default its own.")] = None,
    key_thumbprint: Annotated[str | None, typer.Option(help="The kid that alone may enrol.")] = None,
    licence_no: Annotated[str | None, typer.Option(help="The number of its licence.")] = None,
    contact: Annotated[list[str] | None, typer.Option(help="KIND=WHO, such as technical=ops@bank.example.")] = None,
    as_json: AsJson = False,
) -> None:
    """Propose an institution. A second operator must approve it."""
    body: dict[str, Any] = {"name": name, "role": role, "region": region}
    if jurisdiction:
        body["jurisdictions"] = jurisdiction
    if key_thumbprint:
        body["key_thumbprint"] = key_thumbprint
    if licence_no:
        body["licence_no"] = licence_no
    if contact:
        body["contacts"] = _contacts(contact)
    with client(url, key_file) as service:
        added = service.call("POST", "/v1/members", data=body).data
    show(added, as_json=as_json, line=f"{added['member_id']} proposed; another operator must approve it")


@member.command("approve")
def approve(
    member_id: MemberId,
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    action: Annotated[str, typer.Option(help="What was proposed, as `member proposals` names it.")] = "admission",
    evaluations_per_day: EvaluationsPerDay = None,
    queries_per_day: QueriesPerDay = None,
    reports_per_day: ReportsPerDay = None,
    key_thumbprint: Annotated[str | None, typer.Option(help="The kid that you approve: it alone may enrol.")] = None,
    jurisdiction: Jurisdictions = None,
    version: Version = None,
    as_json: AsJson = False,
) -> None:
    """Approve what another operator proposed, repeating its terms: quotas, jurisdictions, or the key that may enrol."""
    terms = {
        "evaluations_per_day": evaluations_per_day,
        "queries_per_day": queries_per_day,
        "reports_per_day": reports_per_day,
        "key_thumbprint": key_thumbprint,
        "jurisdictions": jurisdiction,
    }
    body = {"action": action} | {name: value for name, value in terms.items() if value is not None}
    with client(url, key_file) as service:
        done = _change(service, member_id, "approvals", body, version)
    code = done.get("enrolment_code")
    line = f"{member_id} is {done['status']}" + (f"; enrolment code (72 h, once): {code}" if code else "")
    show(done, as_json=as_json, line=line)


@member.command("quotas")
def quotas(
    member_id: MemberId,
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    evaluations_per_day: EvaluationsPerDay = None,
    queries_per_day: QueriesPerDay = None,
    reports_per_day: ReportsPerDay = None,
    version: Version = None,
    as_json: AsJson = False,
) -> None:
    """Propose other quotas; another operator approves them with `member approve --action quotas`, naming them again."""
    terms = {
        "evaluations_per_day": evaluations_per_day,
        "queries_per_day": queries_per_day,
        "reports_per_day": reports_per_day,
    }
    body = {name: value for name, value in terms.items() if value is not None}
    with client(url, key_file) as service:
        done = _change(service, member_id, "quotas", body, version)
    show(done, as_json=as_json, line=f"{done['proposal_id']} proposed; another operator must approve it")


@member.command("suspend")
def suspend(
    member_id: MemberId,
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    *,
    reason: Annotated[str, typer.Option(help="Why; the log keeps it for ever, so name no borrower.")],
    yes: Sure = False,
    as_json: AsJson = False,
) -> None:
    """Suspend a member at once: it may only correct. What it would touch is shown first."""
    with client(url, key_file) as service:
        done = _restrict(service, member_id, "suspend", "suspension", reason, yes=yes)
    show(done, as_json=as_json, line=f"{member_id} is {done['status']}")


@member.command("limit")
def limit(
    member_id: MemberId,
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    *,
    reason: Annotated[str, typer.Option(help="Why; the log keeps it for ever, so name no borrower.")],
    yes: Sure = False,
    as_json: AsJson = False,
) -> None:
    """Limit a lender at once: it may report and correct, not ask. What it would touch is shown first."""
    with client(url, key_file) as service:
        done = _restrict(service, member_id, "limit", "limitation", reason, yes=yes)
    show(done, as_json=as_json, line=f"{member_id} is {done['status']}")


@member.command("examine")
def examine(
    member_id: MemberId,
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    *,
    note: Annotated[str, typer.Option(help="What is examined, or its file; the log keeps it for ever.")],
    version: Version = None,
    as_json: AsJson = False,
) -> None:
    """Begin due diligence of an applicant; in production only who was examined is admitted."""
    with client(url, key_file) as service:
        done = _change(service, member_id, "due-diligence", {"note": note}, version)
    show(done, as_json=as_json, line=f"{member_id} is in {done['status']}; another operator must approve it")


@member.command("propose")
def propose(
    member_id: MemberId,
    action: Annotated[
        str,
        typer.Argument(
            help="lift_suspension, lift_limitation, recovery (a new enrolment code after a lost key), jurisdictions, "
            "termination (for good), or admission (anew, where the first proposal has ended)."
        ),
    ],
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    yes: Sure = False,
    key_thumbprint: Annotated[
        str | None, typer.Option(help="With recovery and admission: the kid that alone may enrol; production needs it.")
    ] = None,
    jurisdiction: Jurisdictions = None,
    version: Version = None,
    as_json: AsJson = False,
) -> None:
    """Propose what takes two people; another operator approves it with `member approve --action ACTION`."""
    terms = {"key_thumbprint": key_thumbprint, "jurisdictions": jurisdiction}
    body = {"action": action} | {name: value for name, value in terms.items() if value is not None}
    with client(url, key_file) as service:
        if action == "termination":
            _confirm(service, member_id, "end the membership of", yes=yes)
        done = _change(service, member_id, "proposals", body, version)
    line = f"{done['proposal_id']}: {action} of {member_id} proposed until {done['expires_at']}"
    show(done, as_json=as_json, line=line)


@member.command("proposals")
def proposals(key_file: KeyFile = None, url: ServiceUrl = None, as_json: AsJson = False) -> None:
    """List all that waits for a second person; yours are among them, for another operator."""
    with client(url, key_file) as service:
        found = service.pages("/v1/proposals")
    lines = [
        f"{one['proposal_id']}  {one['action']:15}  of {one['about']}  by {one['proposed_by']}"
        f"  until {one['expires_at']}  {json.dumps(one['terms'])}"
        for one in found
    ]
    show({"data": found}, as_json=as_json, line="\n".join(lines) or "nothing waits for a second person")


@member.command("reject")
def reject(
    proposal_id: Annotated[str, typer.Argument(help="The proposal's id, prp_…, as `member proposals` shows it.")],
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    *,
    reason: Annotated[str, typer.Option(help="Why; the log keeps it for ever, so name no borrower.")],
    as_json: AsJson = False,
) -> None:
    """Reject what another operator proposed, or withdraw what you proposed."""
    with client(url, key_file) as service:
        done = service.call("POST", f"/v1/proposals/{proposal_id}/rejection", data={"reason": reason}).data
    show(done, as_json=as_json, line=f"{proposal_id} is {done['decision']}")


@member.command("show")
def show_member(member_id: MemberId, key_file: KeyFile = None, url: ServiceUrl = None, as_json: AsJson = False) -> None:
    """Show an institution, what waits for a second person, and the version of both, for operators."""
    with client(url, key_file) as service:
        found = service.call("GET", f"/v1/members/{member_id}")
        open_now = service.pages(f"/v1/members/{member_id}/proposals")
    shown = {**found.data, "proposals": open_now, "version": found.version}
    show(shown, as_json=as_json, line=json.dumps(shown, indent=2, ensure_ascii=False))


@member.command("impact")
def impact(member_id: MemberId, key_file: KeyFile = None, url: ServiceUrl = None, as_json: AsJson = False) -> None:
    """Show what a limitation, suspension or the end of the membership would touch."""
    with client(url, key_file) as service:
        found = service.call("GET", f"/v1/members/{member_id}/impact").data
    show(found, as_json=as_json, line=_impact(found))


@member.command("keys")
def keys(
    member_id: Annotated[
        str | None, typer.Argument(help="The institution, mem_…; without it all, with --expiring.")
    ] = None,
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    expiring: Annotated[bool, typer.Option("--expiring", help="Only keys that end soon.")] = False,
    as_json: AsJson = False,
) -> None:
    """List an institution's keys, or whose keys end soon (--expiring)."""
    if member_id is None and not expiring:
        raise ConfigurationError("name an institution, or ask for all keys that end soon by --expiring")
    with client(url, key_file) as service:
        if not expiring:
            found = service.pages(f"/v1/members/{member_id}/keys")
        elif member_id is None:
            found = service.pages("/v1/expiring-keys")
        else:
            found = list(service.call("GET", f"/v1/members/{member_id}").data["ending_keys"])
    lines = [f"{key['member_id']}  {key['kid']}  until {key['expires_at']}  {_stands(key)}" for key in found]
    show({"data": found}, as_json=as_json, line="\n".join(lines) or "no key ends soon")


def _stands(key: Mapping[str, Any]) -> str:
    if "within_days" not in key:
        return str(key["status"])
    return f"within {key['within_days']} days" + (", its last" if key["last"] else "")


@member.command("usage")
def usage(key_file: KeyFile = None, url: ServiceUrl = None, as_json: AsJson = False) -> None:
    """List what members use of their quotas today."""
    with client(url, key_file) as service:
        found = service.pages("/v1/quota-usage")
    lines = [
        f"{one['member_id']}  "
        + "  ".join(
            f"{name} {one[name + '_used_today']} of {one[name + '_per_day']}"
            for name in ("evaluations", "queries", "reports")
        )
        for one in found
    ]
    show({"data": found}, as_json=as_json, line="\n".join(lines))


@member.command("list")
def list_members(key_file: KeyFile = None, url: ServiceUrl = None, as_json: AsJson = False) -> None:
    """List institutions."""
    with client(url, key_file) as service:
        members = service.pages("/v1/members")
    lines = "\n".join(f"{m['member_id']}  {m['role']:9}  {m['status']:13}  {m['name']}" for m in members)
    show({"data": members}, as_json=as_json, line=lines)


def _contacts(given: list[str]) -> dict[str, str]:
    parted = [one.partition("=") for one in given]
    if not all(kind and who for kind, _, who in parted):
        raise ConfigurationError("a contact is KIND=WHO, such as technical=ops@bank.example")
    return {kind: who for kind, _, who in parted}


def _restrict(service: Client, member_id: str, verb: str, resource: str, reason: str, *, yes: bool) -> dict[str, Any]:
    """Restrict a member once its reach was shown and agreed to."""
    _confirm(service, member_id, verb, yes=yes)
    done: dict[str, Any] = service.call("POST", f"/v1/members/{member_id}/{resource}", data={"reason": reason}).data
    return done


def _confirm(service: Client, member_id: str, what: str, *, yes: bool) -> None:
    """Show what an act would touch, and ask, unless it was said already; without a terminal nobody can be asked."""
    if yes:
        return
    typer.echo(_impact(service.call("GET", f"/v1/members/{member_id}/impact").data), err=True)
    if not sys.stdin.isatty():
        raise ConfigurationError(f"to {what} {member_id}, repeat with --yes")
    typer.confirm(f"{what} {member_id}?", abort=True, err=True)


def _impact(found: Mapping[str, Any]) -> str:
    lines = [f"{name.replace('_', ' '):20} {found[name]}" for name in IMPACT]
    key = found["hand_back_kid"] or "none named: it could not get its data back"
    return "\n".join([*lines, f"{'key for its data':20} {key}"])


def _change(
    service: Client, member_id: str, resource: str, body: Mapping[str, Any], version: str | None
) -> dict[str, Any]:
    """Propose or approve under the version that was looked at, or the one of this moment."""
    looked_at = version or service.call("GET", f"/v1/members/{member_id}").version
    path = f"/v1/members/{member_id}/{resource}"
    done: dict[str, Any] = service.call("POST", path, data=dict(body), if_match=looked_at).data
    return done
