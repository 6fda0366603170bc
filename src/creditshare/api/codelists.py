"""The published vocabularies, gathered from the rules that use them."""

from typing import Final

from creditshare.consents import rules as consents
from creditshare.erasures import rules as erasures
from creditshare.indebtedness import rules as indebtedness
from creditshare.notices import rules as notices
from creditshare.records import grid, rules
from creditshare.sharing import answer
from creditshare.warrants import rules as warrants
from creditshare.wire import record_form
from creditshare.wire.reasons import REASONS

CODE_LISTS: Final[dict[str, list[str]]] = {
    "amount_bands": [
        answer.NO_EXPOSURE,
        *[name for _, name in answer.AMOUNT_BANDS],
        answer.TOP_BAND,
        answer.MIXED_CURRENCIES,
    ],
    "buckets": list(grid.SEVERITY),
    "causes": list(rules.CAUSES),
    "classifications": list(grid.TIER_ZH),
    "consent_channels": list(consents.CHANNELS),
    "correction_reasons": list(rules.CORRECTION_REASONS),
    "coverage_bands": [band for band, _ in indebtedness.COVERAGES],
    "currencies": list(record_form.CURRENCIES),
    "default_reasons": list(rules.REASONS),
    "erasure_bases": list(erasures.LEGAL_BASES),
    "error_codes": sorted(REASONS),
    "guarantees": list(rules.GUARANTEES),
    "industry_schemes": list(rules.INDUSTRY_SCHEMES),
    "lawful_bases": list(rules.BASES),
    "life_events": list(rules.LIFE_EVENTS),
    "notice_channels": list(notices.CHANNELS),
    "products": list(rules.PRODUCTS),
    "provide_purposes": list(consents.PROVIDE_PURPOSES),
    "query_purposes": list(consents.QUERY_PURPOSES),
    "region_schemes": list(rules.REGION_SCHEMES),
    "scopes": list(consents.SCOPES),
    "size_classes": list(rules.SIZE_CLASSES),
    "warrant_bases": list(warrants.LEGAL_BASES),
    "warrant_scopes": list(warrants.SCOPES),
    "withdrawal_reasons": list(rules.WITHDRAWAL_REASONS),
}
