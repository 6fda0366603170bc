"""The reports that there are: what each counts, by what, how, and on which basis; in English and Chinese.

A *view* is one way in which a report may be had. There are no others: whoever could ask freely could ask twice and
subtract (decision 30).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from creditshare.reports.tables import (
    ACTIVITY,
    DEFAULT_TABLES,
    DEFAULTS,
    MULTIPLE,
    QUALITY,
    ROLL_TABLES,
    ROLLS,
    VINTAGE_TABLES,
    VINTAGES,
    Table,
)

LOG_HEALTH: Final = "log_health"


@dataclass(frozen=True, slots=True)
class Text:
    """A text for readers in both languages."""

    en: str
    zh: str

    def of(self, language: str) -> str:
        """Return it in a language; English for any that is not Chinese."""
        return self.zh if language == "zh" else self.en


@dataclass(frozen=True, slots=True)
class Kind:
    """A report: its views by name, the first one being what is told where none is asked for.

    ``families`` are the told documents that it is cut from. ``own`` says that a lender may read its own rows of it.
    """

    name: str
    title: Text
    method: Text
    sources: tuple[str, ...]
    families: tuple[str, ...]
    views: Mapping[str, tuple[str, ...]]
    measures: tuple[str, ...]
    own: bool = False

    @property
    def of_conduct(self) -> bool:
        """Whether it tells of what members did, and nothing of borrowers."""
        return bool(self.families) and self.families[0] in {QUALITY, ACTIVITY}

    def as_read_by(self, role: str) -> "Kind":
        """Return it with the views that a role may read: a lender those that name lenders, for its own rows."""
        if role != "lender":
            return self
        return replace(self, views={name: view for name, view in self.views.items() if "lender" in view})

    @property
    def default_view(self) -> str:
        """The view that is told where none is asked for."""
        return next(iter(self.views))


def _views(tables: tuple[Table, ...]) -> dict[str, tuple[str, ...]]:
    return {table.name: table.dimensions for table in tables}


SDC: Final = "Hundepool et al., Statistical Disclosure Control (2012), ch. 4: minimum frequency, dominance, p %"
COUNTED: Final = ("borrowers", "records", "lenders")

_HIDDEN = Text(
    "Cells of few borrowers or lenders are withheld (u), and others with them so that no subtraction brings them back"
    " (x). A cell that is not listed is nought. Borrowers of several cells are counted in each, so they do not add up.",
    "借款人或出借机构过少的单元格不予公布（u），并连同其他单元格一并隐去，使其无法由相减得出（x）。"
    "未列出的单元格为零。同一借款人可计入多个单元格，因此借款人数不可相加。",
)


def _text(en: str, zh: str, *more: Text) -> Text:
    return Text(" ".join([en, *(one.en for one in more)]), "".join([zh, *(one.zh for one in more)]))


KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind(
            "defaults",
            Text("Defaults and exposure", "违约与敞口"),
            _text(
                "Default records that may be seen, by the month of the default. Exposure is the debt that was in"
                " default as its lender gave it: written off, else outstanding, else overdue, else the original"
                " amount; of one currency each. A month is told once its late reports are in.",
                "按违约月份统计可见的违约记录。敞口为机构报送的违约债务：依次取核销金额、未偿本金、逾期金额、原始金额；"
                "各币种分别统计。待迟报记录到齐后方公布该月。",
                _HIDDEN,
            ),
            (SDC, "商业银行金融资产风险分类办法 (2023)"),
            (DEFAULTS,),
            _views(DEFAULT_TABLES),
            (*COUNTED, "exposure"),
        ),
        Kind(
            "multi_lender",
            Text("Borrowers in default at several lenders", "多头违约借款人"),
            _text(
                "Borrowers that stand in default at one, two, three, or four and more lenders at the end of a month."
                " A month's end is left out where too few came or left since the one before it.",
                "每月末在一家、两家、三家、四家及以上机构处于违约状态的借款人数。自上一公布月末以来变动人数过少的月末不予公布。",
            ),
            (SDC,),
            (MULTIPLE,),
            {"month,at_lenders": ("month", "at_lenders")},
            ("borrowers", "lenders"),
        ),
        Kind(
            "vintages",
            Text("Defaults by age of the loan", "账龄分析"),
            _text(
                "Defaults of the loans that were opened in a year, by full years from opening to default; ten and more"
                " stand together. Loans that never defaulted are not reported, so these are counts and no rates.",
                "某年发放的贷款按发放至违约的整年数统计违约笔数，十年及以上合并。未违约贷款不报送，故为笔数而非比率。",
                _HIDDEN,
            ),
            (SDC,),
            (VINTAGES,),
            _views(VINTAGE_TABLES),
            COUNTED,
        ),
        Kind(
            "roll_rates",
            Text("From report to outcome", "违约迁徙"),
            _text(
                "Defaults of a year: the bucket of the delinquency grid in which they were reported, and what they have"
                " come to since.",
                "按违约年份统计：报送时所处的逾期档次，以及其后的状态。",
                _HIDDEN,
            ),
            (SDC, "商业银行金融资产风险分类办法 (2023)", "CDIA Metro 2 account status"),
            (ROLLS,),
            _views(ROLL_TABLES),
            COUNTED,
        ),
        Kind(
            "member_quality",
            Text("Quality of members' reporting", "机构报送质量"),
            _text(
                "By the month in which a lender reported: days from the default to the report, records corrected and"
                " withdrawn since, records whose default is unpaid still and how many of these were touched after their"
                " report, notices attested, rows and reports refused. These counts are of lenders; nothing of any"
                " borrower is in them.",
                "按报送月份统计：违约至报送的天数、其后更正与撤回的记录、仍未清偿的违约及其中报送后有更新者、已证明的告知、"
                "被拒绝的报送。此类数字仅涉及机构，不含任何借款人信息。",
            ),
            ("征信业管理条例 art. 15 (notice), art. 23 (accuracy)",),
            (QUALITY, ACTIVITY),
            {"month,lender": ("month", "lender"), "year,lender": ("year", "lender")},
            (
                "records",
                "within_30",
                "within_90",
                "within_180",
                "after_180",
                "corrected",
                "withdrawn",
                "open",
                "open_updated",
                "notice",
                "refused",
            ),
            own=True,
        ),
        Kind(
            "inquiries",
            Text("Questions asked", "查询情况"),
            _text(
                "Questions about borrowers by purpose, by what they were refused for, and by lender. After hours is"
                " outside Monday to Friday, 8 to 20 o'clock, in the lender's own time. Many evaluations of tokens"
                " beside few questions and reports, many refusals, or much after hours is worth asking about."
                " Whether a question found something is sealed, so no rate of misses is told.",
                "按查询目的、拒绝原因和机构统计查询。非工作时间指机构当地周一至周五八时至二十时以外。令牌计算多而查询与报送少、"
                "拒绝多或非工作时间查询多，均值得向机构问询。查询是否命中已加密，故不公布未命中率。",
            ),
            ("征信业管理条例 art. 18, 20 (purpose and consent)",),
            (ACTIVITY,),
            {
                "month,purpose": ("month", "purpose"),
                "month,reason": ("month", "reason"),
                "month,lender": ("month", "lender"),
            },
            ("asked", "answered", "refused", "after_hours", "evaluations", "reports"),
            own=True,
        ),
        Kind(
            "consents",
            Text("Consents", "授权情况"),
            _text(
                "Consents that lenders registered, by month and purpose; one for several purposes counts in each."
                " Revocations, pauses and resumptions have no purpose of their own.",
                "按月份和目的统计登记的授权；一份授权含多个目的的，分别计入。撤回、暂停与恢复不分目的。",
            ),
            ("征信业管理条例 art. 18",),
            (ACTIVITY,),
            {"month,purpose": ("month", "purpose"), "month,lender": ("month", "lender")},
            ("granted", "revoked", "paused", "resumed"),
            own=True,
        ),
        Kind(
            "erasures",
            Text("Erasures", "删除情况"),
            _text(
                "Records and borrowers whose keys were destroyed, by month: retention that had passed, or an order.",
                "按月统计密钥已销毁的记录与借款人：保存期届满，或依令删除。",
            ),
            ("征信业管理条例 art. 16",),
            (ACTIVITY,),
            {"month": ("month",)},
            ("records_erased", "borrowers_erased"),
        ),
        Kind(
            LOG_HEALTH,
            Text("Health of the log", "日志状态"),
            _text(
                "The audit log as it stands when this is read: its entries, what waits for its place and for how long,"
                " the age of the newest checkpoint, for how long no time-stamp covers what was signed, and whether"
                " witnesses hold it because they saw another one.",
                "读取时审计日志的状态：条目数、待入列事件及最长等待、最新检查点的存续时间、未获时间戳覆盖的时长，"
                "以及见证方是否因发现分歧而暂停签署。",
            ),
            ("RFC 9162, RFC 3161; C2SP tlog-checkpoint, tlog-witness",),
            (),
            {"now": ()},
            ("entries", "waiting", "oldest_waiting_s", "checkpoint_age_s", "unstamped_s", "held"),
        ),
    )
}
LABELS: Final[Mapping[str, Text]] = {
    "after_180": Text("After 180 days", "180天后"),
    "after_hours": Text("After hours", "非工作时间"),
    "age": Text("Years to default", "至违约年数"),
    "answered": Text("Answered", "已答复"),
    "asked": Text("Asked", "查询"),
    "at_lenders": Text("In default at lenders", "违约机构数"),
    "borrowers": Text("Borrowers", "借款人"),
    "checkpoint_age_s": Text("Checkpoint's age, seconds", "检查点存续秒数"),
    "entries": Text("Entries", "条目"),
    "held": Text("Held by witnesses", "见证方暂停"),
    "oldest_waiting_s": Text("Longest wait, seconds", "最长等待秒数"),
    "unstamped_s": Text("Not stamped for, seconds", "未获时间戳秒数"),
    "waiting": Text("Waiting", "等待"),
    "borrowers_erased": Text("Borrowers erased", "已删除借款人"),
    "corrected": Text("Corrected since", "其后更正"),
    "currency": Text("Currency", "币种"),
    "evaluations": Text("Token evaluations", "令牌计算"),
    "exposure": Text("Exposure", "敞口"),
    "from": Text("Reported as", "报送时档次"),
    "granted": Text("Registered", "登记"),
    "industry": Text("Industry", "行业"),
    "lender": Text("Lender", "机构"),
    "lenders": Text("Lenders", "机构数"),
    "month": Text("Month", "月份"),
    "notice": Text("Notice attested", "已证明告知"),
    "open": Text("Unpaid still", "仍未清偿"),
    "open_updated": Text("Of these updated", "其中有更新"),
    "opened": Text("Opened in", "发放年份"),
    "paused": Text("Paused", "暂停"),
    "purpose": Text("Purpose", "目的"),
    "reason": Text("Refused for", "拒绝原因"),
    "records": Text("Records", "记录"),
    "records_erased": Text("Records erased", "已删除记录"),
    "refused": Text("Refused", "被拒绝"),
    "region": Text("Region", "地区"),
    "reports": Text("Reports", "报送"),
    "resumed": Text("Resumed", "恢复"),
    "revoked": Text("Revoked", "撤回"),
    "size": Text("Size", "规模"),
    "to": Text("Come to", "现状"),
    "withdrawn": Text("Withdrawn since", "其后撤回"),
    "within_30": Text("Within 30 days", "30天内"),
    "within_90": Text("Within 90 days", "31至90天"),
    "within_180": Text("Within 180 days", "91至180天"),
    "year": Text("Year", "年份"),
}
"""What dimensions and measures are called."""
STATUSES: Final[Mapping[str, Text]] = {
    "s": Text("told", "公布"),
    "u": Text(
        "withheld: too few borrowers or lenders, or one lender dominates",
        "不予公布：借款人或机构过少，或一家机构占比过高",
    ),
    "x": Text("withheld so that others cannot be worked out", "不予公布：以免推算出其他单元格"),
}
"""What the statuses of a cell mean."""
