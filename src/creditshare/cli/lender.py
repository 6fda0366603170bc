"""A lender's everyday commands. Identifiers are blinded here and never leave this machine."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from creditshare.cli import history, imports
from creditshare.cli.options import AsJson, KeyFile, ServiceUrl, client, read_json, show
from creditshare.wire.consent_receipt import DPV_PURPOSES

consent = typer.Typer(no_args_is_help=True, help="Consents of borrowers: nothing is asked without one.")
record = typer.Typer(no_args_is_help=True, help="Default records that you report, and their life.")
debt = typer.Typer(no_args_is_help=True, help="What borrowers owe you, stated for the 20 % test.")
query = typer.Typer(no_args_is_help=True, help="Questions about borrowers, and what you asked before.")
record.command("import", help=imports.HELP)(imports.import_file)

Uscc = Annotated[
    str,
    typer.Option(help="Unified social credit code; - reads it from standard input, so that no process list has it."),
]
Purposes = Annotated[
    list[str] | None,
    typer.Option(help=f"One of {', '.join(DPV_PURPOSES)}; may be repeated. Without it: pre_loan.", show_default=False),
]
Scopes = Annotated[
    list[str] | None,
    typer.Option(help="defaults, amounts, history; may be repeated. Without it: defaults.", show_default=False),
]
Day = Annotated[str, typer.Option(help="A day, YYYY-MM-DD.")]


def _identifier(text: str) -> str:
    return typer.get_text_stream("stdin").readline().strip() if text == "-" else text


@consent.command("grant")
def grant(
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    *,
    uscc: Uscc,
    document: Annotated[Path, typer.Option(help="The signed consent; only a salted digest is sent.", exists=True)],
    kind: Annotated[str, typer.Option(help="query (to ask) or provide (to report).")] = "query",
    purpose: Purposes = None,
    scope: Scopes = None,
    days: Annotated[int, typer.Option(help="Valid for so many days.")] = 30,
    max_uses: Annotated[int | None, typer.Option(help="Good for so many questions.")] = None,
    as_json: AsJson = False,
) -> None:
    """Register a consent that the borrower signed.

    Keep the document and the file DOCUMENT.salts.ndjson that is written beside it: together they show what was signed.
    """
    with client(url, key_file) as service:
        done = service.consents.grant(
            uscc=_identifier(uscc),
            kind=kind,
            purposes=purpose or ["pre_loan"],
            scopes=scope or ["defaults"],
            evidence=document,
            valid_days=days,
            max_uses=max_uses,
        ).data
    show(done, as_json=as_json, line=f"{done['consent_id']} is {done['status']}")


@consent.command("revoke")
def revoke(consent_id: str, key_file: KeyFile = None, url: ServiceUrl = None, as_json: AsJson = False) -> None:
    """Revoke a consent; the very next question is refused. It cannot be taken back."""
    with client(url, key_file) as service:
        done = service.consents.revoke(consent_id).data
    show(done, as_json=as_json, line=f"{consent_id} is {done['status']}")


@consent.command("pause")
def pause(consent_id: str, key_file: KeyFile = None, url: ServiceUrl = None, as_json: AsJson = False) -> None:
    """Pause a consent; questions under it are refused until it is resumed."""
    with client(url, key_file) as service:
        done = service.consents.pause(consent_id).data
    show(done, as_json=as_json, line=f"{consent_id} is {done['status']}")


@consent.command("resume")
def resume(consent_id: str, key_file: KeyFile = None, url: ServiceUrl = None, as_json: AsJson = False) -> None:
    """Resume a paused consent."""
    with client(url, key_file) as service:
        done = service.consents.resume(consent_id).data
    show(done, as_json=as_json, line=f"{consent_id} is {done['status']}")


@consent.command("show")
def show_consent(consent_id: str, key_file: KeyFile = None, url: ServiceUrl = None, as_json: AsJson = False) -> None:
    """Show a consent: its state, its uses, its signed receipt."""
    with client(url, key_file) as service:
        done = service.consents.show(consent_id).data
    show(done, as_json=as_json, line=json.dumps(done, indent=2))


@record.command("submit")
def submit(
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    *,
    uscc: Uscc,
    file: Annotated[Path, typer.Option(help="The record as JSON, without its subject.")],
    as_json: AsJson = False,
) -> None:
    """Report a default."""
    body: dict[str, Any] = read_json(file)
    with client(url, key_file) as service:
        done = service.records.submit(body, uscc=_identifier(uscc)).data
    show(done, as_json=as_json, line=f"{done['record_id']} is {done['status']}, visible from {done['visible_from']}")


@record.command("show")
def show_record(record_id: str, key_file: KeyFile = None, url: ServiceUrl = None, as_json: AsJson = False) -> None:
    """Show one of your own records as it stands now."""
    with client(url, key_file) as service:
        done = service.records.show(record_id).data
    show(done, as_json=as_json, line=json.dumps(done, indent=2, ensure_ascii=False))


@record.command("advance")
def advance(
    record_id: str,
    kind: Annotated[
        str,
        typer.Argument(
            help="forbearance, default, cured, legal, written_off, recovered, settled_full, settled_partial or sold."
        ),
    ],
    on: Day,
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    amount: Annotated[str | None, typer.Option(help="The step's amount, such as 1200.00, where it has one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add a step of a record's life: cured, written off, settled, sold. What was wrong is corrected instead."""
    with client(url, key_file) as service:
        done = service.records.advance(record_id, kind=kind, on=on, amount=amount).data
    show(done, as_json=as_json, line=f"{record_id} is {done['status']}")


@record.command("correct")
def correct(
    record_id: str,
    reason: Annotated[
        str, typer.Option(help="wrong_amount, wrong_date, wrong_borrower_data, wrong_classification or other.")
    ],
    file: Annotated[
        Path, typer.Option(help='What is right, as JSON: {"written_off_amount": "89000.00"}; null empties a field.')
    ],
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    as_json: AsJson = False,
) -> None:
    """Correct fields that were wrong. Every answer from now on, of whatever date, shows what is right."""
    changes = read_json(file)
    with client(url, key_file) as service:
        done = service.records.correct(record_id, changes=changes, reason=reason).data
    show(done, as_json=as_json, line=f"{record_id} is {done['status']}, corrected")


@record.command("withdraw")
def withdraw(
    record_id: str,
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    reason: Annotated[
        str, typer.Option(help="reported_in_error, wrong_borrower, duplicate, court_order or other.")
    ] = "reported_in_error",
    as_json: AsJson = False,
) -> None:
    """Take a record back: it appears in no answer any more."""
    with client(url, key_file) as service:
        done = service.records.withdraw(record_id, reason=reason).data
    show(done, as_json=as_json, line=f"{record_id} is {done['status']}")


@query.command("run")
def run(
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    *,
    uscc: Uscc,
    consent_id: Annotated[str, typer.Option("--consent", help="The consent that covers it.")],
    purpose: Annotated[str, typer.Option(help="A purpose of the consent.")] = "pre_loan",
    scope: Scopes = None,
    evidence: Annotated[Path | None, typer.Option(help="Keep the exchange as evidence here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask what other lenders reported about a borrower.

    The question is noted in this machine's history, without the borrower; see `query history`.
    """
    scopes = scope or ["defaults"]
    with client(url, key_file) as service:
        answer = service.queries.run(uscc=_identifier(uscc), purpose=purpose, consent=consent_id, scopes=scopes)
        history.remember(
            query_id=answer["query_id"],
            purpose=purpose,
            consent_id=consent_id,
            scopes=scopes,
            member_id=service.session.signer.member_id,
            issuer=service.issuer,
            now=datetime.now(UTC),
        )
        if evidence is not None:
            service.evidence(answer).save(evidence)
    show(answer.data, as_json=as_json, line=json.dumps(answer.data, indent=2))


@query.command("tier")
def show_tier(key_file: KeyFile = None, url: ServiceUrl = None, as_json: AsJson = False) -> None:
    """Show how deep your answers are, and the figures that this follows from; the rules are published."""
    with client(url, key_file) as service:
        own = service.call("GET", "/v1/me/reciprocity").data
    figures = [f"{name:12} {own[name]} %" for name in ("coverage", "freshness", "corrections", "refusals")]
    when = f"computed {own['computed_at']}" if own["computed_at"] else "not computed yet"
    lines = [f"tier {own['tier']}, {when}", *(figures if own["computed_at"] else [])]
    show(own, as_json=as_json, line="\n".join(lines))


@debt.command("state")
def state_debt(
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    *,
    uscc: Uscc,
    month: Annotated[str, typer.Option(help="The month that ended, YYYY-MM.")],
    total: Annotated[str, typer.Option(help="All that is owed at its end, such as 1250000.00, in CNY.")],
    overdue: Annotated[str, typer.Option(help="The part of it that is more than 90 days overdue.")],
    consent_id: Annotated[
        str | None, typer.Option("--consent", help="A consent to provide; without it on a legal duty.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """State what a non-retail borrower owes you at a month's end. The last statement before the cut-off counts."""
    with client(url, key_file) as service:
        done = service.debts.state(
            uscc=_identifier(uscc), month=month, total=total, overdue=overdue, consent=consent_id
        ).data
    show(done, as_json=as_json, line=f"{done['statement_id']} of {month}; it can be replaced until {done['closes_at']}")


@query.command("non-performing")
def non_performing(
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    *,
    uscc: Uscc,
    consent_id: Annotated[str, typer.Option("--consent", help="The consent that covers it.")],
    purpose: Annotated[str, typer.Option(help="post_loan_monitoring or restructuring.")] = "post_loan_monitoring",
    evidence: Annotated[Path | None, typer.Option(help="Keep the exchange as evidence here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask whether more than 20 % of a borrower's debt at all lenders is more than 90 days overdue.

    If so, every bank has to class what it has of it as non-performing. Told for the month that closed last.
    """
    with client(url, key_file) as service:
        answer = service.queries.non_performing(uscc=_identifier(uscc), purpose=purpose, consent=consent_id)
        history.remember(
            query_id=answer["query_id"],
            purpose=purpose,
            consent_id=consent_id,
            scopes=["defaults"],
            member_id=service.session.signer.member_id,
            issuer=service.issuer,
            now=datetime.now(UTC),
        )
        if evidence is not None:
            service.evidence(answer).save(evidence)
    told = answer.data
    if told["flipped"] is None:
        line = f"no answer for {told['month']}: too few lenders stated a debt"
    else:
        verdict = "more than 20 % is overdue: non-performing" if told["flipped"] else "20 % or less is overdue"
        line = f"{told['month']}: {verdict}; of the lenders known, {told['coverage']} stated their debt"
    show(told, as_json=as_json, line=line)


@query.command("history")
def show_history(
    query_id: Annotated[str | None, typer.Argument(help="Show this question's answer as it was told.")] = None,
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    limit: Annotated[int, typer.Option(min=1, help="So many of the newest questions.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List what this machine asked, or show one answer again.

    The list is a local file and never holds an identifier. With a QUERY_ID the service gives the exact bytes it told
    then, and says if they no longer hold because a record was corrected, disputed or withdrawn.
    """
    if query_id is None:
        asked = history.recall(limit=limit)
        lines = "\n".join(f"{q['at']}  {q['query_id']}  {q['purpose']}  {q['consent_id']}" for q in asked)
        show({"questions": asked}, as_json=as_json, line=lines or f"nothing asked yet ({history.history_file()})")
        return
    with client(url, key_file) as service:
        told = service.queries.show(query_id)
    superseded = told.headers.get("cs-superseded")
    holds = "still holds" if superseded is None else f"no longer holds: {superseded}"
    show(
        {"answer": told.data, "superseded": superseded},
        as_json=as_json,
        line=f"{json.dumps(told.data, indent=2)}\nthis answer {holds}",
    )
