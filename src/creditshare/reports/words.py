"""What the codes that stand in reports mean, for who reads a page, a PDF or a workbook; JSON and CSV keep codes.

What is not here, such as a region's or an industry's code, stands as it is.
"""

from collections.abc import Mapping
from typing import Any, Final

from creditshare.reports.catalogue import Text
from creditshare.wire.reasons import REASONS

_STATES: Final = {
    "default": Text("in default", "违约"),
    "forbearance": Text("forbearance", "宽限"),
    "legal": Text("legal action", "诉讼中"),
    "written_off": Text("written off", "已核销"),
    "cured": Text("cured", "已恢复正常"),
    "recovered": Text("recovered", "已追回"),
    "settled_full": Text("settled in full", "全额结清"),
    "settled_partial": Text("settled in part", "部分结清"),
    "sold": Text("sold", "已转让"),
}
_BUCKETS: Final = {
    "current": Text("not overdue", "未逾期"),
    "unlikely_to_pay": Text("unlikely to pay", "偿付可能性低"),
    "written_off": Text("written off", "已核销"),
    **{
        f"d{days}": Text(f"overdue from {days} days", f"逾期 {days} 天起")
        for days in (1, 30, 60, 90, 120, 150, 180, 271, 361)
    },
}
VALUES: Final[Mapping[str, Mapping[str, Text]]] = {
    "purpose": {
        "pre_loan": Text("before a loan", "贷前审查"),
        "post_loan_monitoring": Text("monitoring", "贷后管理"),
        "guarantor_check": Text("guarantor", "担保审查"),
        "restructuring": Text("restructuring", "债务重组"),
    },
    "size": {
        "micro": Text("micro", "微型"),
        "small": Text("small", "小型"),
        "medium": Text("medium", "中型"),
        "unknown": Text("unknown", "未知"),
    },
    "part": {"all": Text("all time", "全部期间")},
    "view": {"now": Text("As it stands now", "当前")},
    "industry": {"unknown": Text("unknown", "未知")},
    "from": _BUCKETS,
    "to": _STATES,
    "reason": {code: Text(reason.title.en, reason.title.zh) for code, reason in REASONS.items()},
}
BASES: Final[Mapping[str, str]] = {
    "house rule, the minimum frequency of official statistics"
    " (Hundepool et al., Statistical Disclosure Control)": "本系统规则：官方统计的最低频数"
    "（Hundepool 等，Statistical Disclosure Control）",
    "house rule, (n,k) dominance and p % on sums by lender"
    " (Hundepool et al., Statistical Disclosure Control)": "本系统规则：按机构汇总额的 (n,k) 占优与 p% 准则"
    "（Hundepool 等，Statistical Disclosure Control）",
    "house rule: a month is told when its late reports are in": "本系统规则：待迟报记录到齐后方公布该月",
}
"""What the rules of reports rest on, in Chinese. A row that an operator wrote since stands in its own words."""


def value_in_words(name: str, value: Any, report: Mapping[str, Any], language: str) -> str:
    """Return a dimension's value as it is read: a lender by its name, a code by its words, else as it is."""
    if name == "lender":
        return str(report.get("lenders", {}).get(value, value))
    text = VALUES.get(name, {}).get(value)
    return str(value) if text is None else text.of(language)


def basis_in_words(basis: str, language: str) -> str:
    """Return what a rule rests on, in a language."""
    return BASES.get(basis, basis) if language == "zh" else basis
