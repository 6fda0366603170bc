"""The page that the ``type`` of every problem document points to, made from the one table of codes.

Plain HTML without script, in both languages of the service; each code is an anchor.
"""

from html import escape
from typing import Final, Literal

from creditshare.api.problems import STATUS
from creditshare.wire.reasons import REASONS, Reason, Text

Language = Literal["en", "zh"]

_WORDS: Final[dict[str, Text]] = {
    "title": Text("Problem codes of creditshare", "creditshare 问题代码"),
    "intro": Text(
        "Every refusal is a problem document (RFC 9457) whose code is one of these. Codes keep their meaning; titles "
        "and details may be reworded, so programs decide by code alone.",
        "每次拒绝均返回一份问题文档（RFC 9457），其 code 为下列之一。"
        "代码含义不变，标题与说明文字可能调整，因此程序只应依据 code 判断。",
    ),
    "index": Text("All codes by status", "按状态码排列的全部代码"),
    "status": Text("Status", "状态码"),
    "when": Text("When", "何时返回"),
    "retry": Text("Retry", "能否重试"),
    "remedy": Text("What to do", "如何处理"),
    "retry_yes": Text(
        "Yes. Sign a new token with a new jti; keep the Idempotency-Key and the body; wait for Retry-After where it is "
        "sent.",
        "可以。请用新的 jti 重新签发令牌，保持 Idempotency-Key 与请求体不变；如有 Retry-After，请先等待相应秒数。",
    ),
    "retry_no": Text(
        "No. The same request gets the same answer until something has been changed.",
        "不可以。在作出更改之前，相同的请求只会得到相同的结果。",
    ),
    "other": Text("中文", "English"),
    "api": Text("The whole API", "完整接口文档"),
}


def language_of(asked: str | None, accept_language: str) -> Language:
    """Return the language of a page: the one asked for in the address, else the reader's own."""
    wanted = asked or accept_language
    return "zh" if wanted.lower().lstrip().startswith("zh") else "en"


def problem_page(language: Language) -> str:
    """Return the page in one language."""
    reasons = sorted(REASONS.values(), key=lambda reason: STATUS[reason.code])
    other = "en" if language == "zh" else "zh"
    entries = "\n".join(
        f'<li>{STATUS[reason.code]} <a href="#{reason.code}"><code>{reason.code}</code></a></li>' for reason in reasons
    )
    sections = "\n".join(_section(reason, language) for reason in reasons)
    return f"""<!doctype html>
<html lang="{"zh-Hans" if language == "zh" else "en"}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_word("title", language)}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/assets/pages.css">
</head>
<body>
<header>
<p class="languages"><a href="/docs/problems?lang={other}" hreflang="{other}">{_word("other", language)}</a>
· <a href="/docs">{_word("api", language)}</a></p>
<h1>{_word("title", language)}</h1>
<p>{_word("intro", language)}</p>
</header>
<main class="text">
<nav aria-label="{_word("index", language)}"><ul>
{entries}
</ul></nav>
{sections}
</main>
</body>
</html>
"""


def _section(reason: Reason, language: Language) -> str:
    rows = (
        ("status", str(STATUS[reason.code])),
        ("when", _text(reason.when, language)),
        ("retry", _word("retry_yes" if reason.retry else "retry_no", language)),
        ("remedy", _text(reason.detail, language)),
    )
    listed = "".join(f"<dt>{_word(name, language)}</dt><dd>{value}</dd>" for name, value in rows)
    title = _text(reason.title, language)
    return (
        f'<section id="{reason.code}"><h2><a href="#{reason.code}"><code>{reason.code}</code></a> '
        f"<span>{title}</span></h2><dl>{listed}</dl></section>"
    )


def _word(name: str, language: Language) -> str:
    return _text(_WORDS[name], language)


def _text(text: Text, language: Language) -> str:
    return escape(text.zh if language == "zh" else text.en)
