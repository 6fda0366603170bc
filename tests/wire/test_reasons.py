"""The published table of codes is complete, bilingual and says what to do."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest

import creditshare
from creditshare.wire.reasons import REASONS

# The codes of the signing profile, and those that any HTTP service needs.
PUBLISHED = [
    "body_malformed",
    "idempotency_key_missing",
    "token_missing",
    "token_malformed",
    "header_not_allowed",
    "alg_not_allowed",
    "typ_mismatch",
    "signature_invalid",
    "key_expired",
    "key_revoked",
    "token_expired",
    "token_not_yet_valid",
    "lifetime_too_long",
    "claim_missing",
    "aud_mismatch",
    "method_mismatch",
    "uri_mismatch",
    "query_mismatch",
    "header_mismatch",
    "digest_mismatch",
    "replay_detected",
    "reader_unknown",
    "member_suspended",
    "member_limited",
    "role_forbidden",
    "jurisdiction_not_admitted",
    "purpose_not_allowed",
    "consent_missing",
    "consent_not_yet_valid",
    "consent_paused",
    "consent_revoked",
    "consent_expired",
    "consent_exhausted",
    "consent_scope",
    "warrant_not_in_force",
    "warrant_scope",
    "enrolment_code_invalid",
    "proof_invalid",
    "console_code_invalid",
    "form_token_invalid",
    "passkey_invalid",
    "confirmation_ended",
    "not_found",
    "not_integrated_yet",
    "not_acceptable",
    "idempotency_in_progress",
    "state_conflict",
    "key_exists",
    "key_limit",
    "erased",
    "precondition_failed",
    "precondition_required",
    "content_too_large",
    "request_timeout",
    "unsupported_media_type",
    "validation_failed",
    "idempotency_mismatch",
    "notice_required",
    "element_invalid",
    "suite_unknown",
    "key_version_retired",
    "rate_limited",
    "quota_exhausted",
    "enumeration_suspected",
    "unavailable",
    "method_not_allowed",
    "internal_error",
]


def test_the_table_is_exactly_what_is_published() -> None:
    assert sorted(REASONS) == sorted(PUBLISHED)


def test_the_table_is_read_only() -> None:
    with pytest.raises(TypeError):
        REASONS["x"] = REASONS["erased"]  # type: ignore[index]


@pytest.mark.parametrize("code", PUBLISHED)
def test_every_row_is_filled_in_both_languages(code: str) -> None:
    reason = REASONS[code]
    assert reason.code == code
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
    for text in (reason.when, reason.title, reason.detail):
        assert text.en.isascii()
        assert re.search(r"[\u4e00-\u9fff]", text.zh)
    assert reason.when.en.endswith(".")
    assert reason.when.zh.endswith("。")
    assert reason.detail.en.endswith(".")
    assert reason.detail.zh.endswith("。")
    assert not reason.title.en.endswith(".")
    # A text with a place for a value could echo one.
    assert not re.search(r"[{}%]", " ".join((*dataclasses.astuple(reason.when), *dataclasses.astuple(reason.title))))


def test_titles_are_told_apart() -> None:
    assert len({reason.title.en for reason in REASONS.values()}) == len(REASONS)
    assert len({reason.title.zh for reason in REASONS.values()}) == len(REASONS)


def test_what_a_program_may_repeat_by_itself() -> None:
    assert {code for code, reason in REASONS.items() if reason.retry} == {
        "token_expired",
        "token_not_yet_valid",
        "replay_detected",
        "not_integrated_yet",
        "idempotency_in_progress",
        "request_timeout",
        "rate_limited",
        "quota_exhausted",
        "unavailable",
        "internal_error",
    }


def test_every_literal_refusal_in_the_wire_floor_is_in_the_table() -> None:
    root = Path(creditshare.__file__).parent / "wire"
    codes = {
        node.args[0].value
        for path in root.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refused"
        if node.args and isinstance(node.args[0], ast.Constant)
    }
    assert codes
    assert codes <= set(REASONS)
