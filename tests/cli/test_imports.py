"""Which refusals concern one row, and which would meet every further row and so stop the run."""

import json
from typing import Any, cast

import pytest

from creditshare.cli.imports import CorrectionMode, Orders, Outcome, Run, Sending
from creditshare.client.bank import Client, Problem
from creditshare.client.core import SignedAnswer, SignedRequest
from creditshare.errors import FieldError, Unavailable


def sending() -> Sending:
    orders = Orders(CorrectionMode.NO, "other", dry_run=False, rows_at_once=1, parallel=1)
    return Sending(cast("Run", None), cast("Client", None), orders)


def refusal(status: int, code: str, **more: Any) -> Problem:
    body = json.dumps({"status": status, "code": code, "detail": "why", **more}).encode()
    return Problem(SignedAnswer(status, {}, body, None, SignedRequest("POST", "/", "", {}, b"", "token")))


def raising(error: Exception) -> Outcome:
    raise error


@pytest.mark.parametrize(
    "error",
    [
        refusal(403, "member_suspended"),
        refusal(403, "role_forbidden"),
        refusal(401, "key_revoked"),
        refusal(422, "key_version_retired"),
        refusal(429, "rate_limited"),
        refusal(500, "internal_error"),
        refusal(503, "unavailable"),
        Unavailable("nobody there"),
    ],
)
def test_what_every_row_would_meet_stops_the_run(error: Exception) -> None:
    run = sending()
    assert run._attempt(lambda: raising(error)).kind == "not_sent"
    assert (run.stopped, run.halted_by, run.interrupted) == (True, str(error), False)
    # Nothing is tried any more.
    assert run._attempt(lambda: raising(AssertionError("tried"))).kind == "not_sent"


@pytest.mark.parametrize(
    ("status", "code"),
    [(403, "consent_missing"), (403, "jurisdiction_not_admitted"), (409, "state_conflict"), (422, "notice_required")],
)
def test_what_concerns_one_row_is_its_outcome(status: int, code: str) -> None:
    run = sending()
    outcome = run._attempt(lambda: raising(refusal(status, code)))
    assert (outcome.kind, outcome.code, outcome.errors) == ("refused", code, (FieldError("", code, "why"),))
    assert not run.stopped


def test_fields_that_the_service_names_are_passed_on() -> None:
    named = {"pointer": "/region/code", "code": "format", "detail": "six digits"}
    outcome = sending()._attempt(lambda: raising(refusal(422, "validation_failed", errors=[named])))
    assert outcome.errors == (FieldError("/region/code", "format", "six digits"),)
