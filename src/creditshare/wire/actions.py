"""What the member ``action`` of an event's ``c_meta`` may say.

An exchange is named by the operation id of its route, whether it succeeded or was refused; a stored answer told again
under the same idempotency key by that name and ``_again``. What the service did without a request, or before the caller
was anybody, has a name of its own here. Names may be added, never renamed or reused: the log keeps them for ever.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

AGAIN: Final = "_again"
"""Ends the name of an event that told a stored answer again; nothing was done twice."""

OWN_ACTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "accept_rows": "Rows that did not match their seals were sealed as they stood, by the operator's decision.",
        "begin_console_session": "A one-time code of a signed request began a session of the pages.",
        "bootstrap_operators": "The first operators were made, once, on the service's own machine.",
        "end_console_session": "A session of the pages was ended: by its holder, or because its key or member was.",
        "enrol_first_key": "A member enrolled its first key by its one-time code, before it could sign a request.",
        "erase_borrower": "All that was held about one borrower was made unreadable.",
        "erase_record": "One record was made unreadable.",
        "finish_job": "The last row of a file of records was dealt with, or the job was stopped.",
        "hand_back": "All that was a terminated member's own was handed back, encrypted to the key that it had named.",
        "load_record": "A row of a file of records became a record.",
        "offer_passkey": "A page made a passkey, which counts once the member's own key signs for it.",
        "refusals": "Refusals of one member with one code within one minute, counted into one event.",
        "set_tier": "The depth of a lender's answers changed, by its figures and the published rules of reciprocity.",
        "tell_reports": "What changed was told in the reports: the release, and the digest of all that stands told.",
        "retire_kek": "A key-encryption key that wraps nothing any more was removed from the key file.",
        "rotate_kek": "The borrowers' keys were wrapped anew by another key-encryption key.",
        "view_page": "A page was shown that says something about members, their work, or the log.",
    }
)
"""Events that belong to no signed request, and what each says."""

EXCHANGES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "add_key": "POST /v1/members/{member_id}/keys",
        "advance_clock": "POST /v1/sandbox/clock",
        "advance_record": "POST /v1/records/{record_id}/events",
        "begin_due_diligence": "POST /v1/members/{member_id}/due-diligence",
        "approve_erasure": "POST /v1/erasures/{erasure_id}/approvals",
        "approve_member": "POST /v1/members/{member_id}/approvals",
        "approve_warrant": "POST /v1/warrants/{warrant_id}/approvals",
        "confirm_passkey": "POST /v1/me/passkeys",
        "correct_record": "POST /v1/records/{record_id}/corrections",
        "create_console_link": "POST /v1/console-links",
        "evaluate_tokens": "POST /v1/tokens/evaluate",
        "grant_consent": "POST /v1/consents",
        "limit_member": "POST /v1/members/{member_id}/limitation",
        "name_hand_back_key": "POST /v1/me/hand-back-key",
        "pause_consent": "POST /v1/consents/{consent_id}/pause",
        "propose_change": "POST /v1/members/{member_id}/proposals",
        "propose_member": "POST /v1/members",
        "propose_quotas": "POST /v1/members/{member_id}/quotas",
        "reject_proposal": "POST /v1/proposals/{proposal_id}/rejection",
        "request_erasure": "POST /v1/erasures",
        "request_warrant": "POST /v1/warrants",
        "resume_consent": "POST /v1/consents/{consent_id}/resumption",
        "retire_key": "POST /v1/members/{member_id}/keys/{kid}/retirement",
        "review_key": "GET /v1/members/{member_id}/keys/{kid}/signatures",
        "revoke_consent": "POST /v1/consents/{consent_id}/revocation",
        "revoke_key": "POST /v1/members/{member_id}/keys/{kid}/revocation",
        "revoke_warrant": "POST /v1/warrants/{warrant_id}/revocation",
        "revoke_passkey": "POST /v1/me/passkeys/{passkey}/revocation",
        "run_non_performing_test": "POST /v1/non-performing-tests",
        "run_query": "POST /v1/queries",
        "run_query_batch": "POST /v1/query-batches",
        "show_consent": "GET /v1/consents/{consent_id}",
        "show_log_token": "GET /v1/me/log-token",
        "show_opening": "GET /audit/v1/events/{event_id}/opening",
        "show_query": "GET /v1/queries/{query_id}",
        "show_report": "GET /v1/reports/{report}",
        "show_record": "GET /v1/records/{record_id}",
        "show_warrant": "GET /v1/warrants/{warrant_id}",
        "show_warrant_inquiries": "GET /v1/warrants/{warrant_id}/inquiries",
        "show_warrant_records": "GET /v1/warrants/{warrant_id}/records",
        "state_debt": "POST /v1/debt-statements",
        "submit_record": "POST /v1/records",
        "submit_record_batch": "POST /v1/record-batches",
        "suspend_member": "POST /v1/members/{member_id}/suspension",
        "withdraw_record": "POST /v1/records/{record_id}/withdrawal",
    }
)
"""Operations whose success is an event. Reads that open no sealed field are events only where they were refused."""
