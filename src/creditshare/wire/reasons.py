"""Every code that a refusal may carry: when it is given, whether to retry, and what to tell the reader.

The documentation page and the problem documents are made from this table. No HTTP here: the status of a code stands in
``api/problems.py``. Codes are part of the protocol: they may be added, never renamed, reused or given another meaning.
Titles and details may be reworded. No text has a place for a submitted value.

``retry`` tells a program: the same action again, in a newly signed token (new ``jti``) with the same
``Idempotency-Key`` and the same body, after ``Retry-After`` where sent, may succeed without a person changing anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Text:
    """One sentence or two, in both languages of the service."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class Reason:
    """A row of the table. ``when`` is for documentation, ``title`` and ``detail`` for the one who was refused."""

    code: str
    when: Text
    retry: bool
    title: Text
    detail: Text


def _reason(
    code: str, when: tuple[str, str], *, retry: bool = False, title: tuple[str, str], detail: tuple[str, str]
) -> Reason:
    return Reason(code=code, when=Text(*when), retry=retry, title=Text(*title), detail=Text(*detail))


_FORM: Final = (
    _reason(
        "body_malformed",
        (
            "The body is not strict JSON in UTF-8, or not the announced file format.",
            "请求体不是严格的 UTF-8 编码 JSON，或不符合所声明的文件格式。",
        ),
        title=("Body cannot be read", "请求体无法解析"),
        detail=(
            (
                "Send strict JSON in UTF-8: no byte order mark, no name twice in one object, no NaN or Infinity, "
                "moderate nesting."
            ),
            "请发送严格的 UTF-8 编码 JSON：无字节顺序标记，同一对象内无重名成员，无 NaN 或 Infinity，嵌套不可过深。",
        ),
    ),
    _reason(
        "idempotency_key_missing",
        (
            "A POST that needs the header Idempotency-Key came without it.",
            "需要 Idempotency-Key 的 POST 请求未携带该请求头。",
        ),
        title=("Idempotency-Key is missing", "缺少 Idempotency-Key"),
        detail=(
            "Add the header Idempotency-Key with a fresh unique value and repeat the same value in the claim idk.",
            "请添加请求头 Idempotency-Key（取一个新的唯一值），并在声明 idk 中写入相同的值。",
        ),
    ),
    _reason(
        "validation_failed",
        (
            "The body is readable, but one or more fields break a rule; each is listed with a pointer.",
            "请求体可以读取，但有一个或多个字段违反规则；每个字段均以指针列出。",
        ),
        title=("Some fields are not valid", "部分字段无效"),
        detail=(
            "Correct every field listed under errors, then send again with a new Idempotency-Key.",
            "请更正 errors 中列出的每个字段，然后使用新的 Idempotency-Key 重新发送。",
        ),
    ),
    _reason(
        "content_too_large",
        ("The body or a batch is larger than the published limit.", "请求体或批次超过公布的上限。"),
        title=("Request is too large", "请求过大"),
        detail=(
            "Split the request. The limits are published in the discovery document under limits.",
            "请拆分请求。各项上限见服务发现文档中的 limits。",
        ),
    ),
    _reason(
        "request_timeout",
        ("The body did not arrive within the time limit.", "请求体未在时限内到达。"),
        retry=True,
        title=("Request came too slowly", "请求到达过慢"),
        detail=(
            "Nothing was read or done. Send the whole body without pauses; the time is published under limits.",
            "未读取也未执行任何内容。请不间断地发送完整请求体；时限见服务发现文档中的 limits。",
        ),
    ),
    _reason(
        "unsupported_media_type",
        (
            "Content-Type is not one of the resource's, or Content-Encoding is other than identity.",
            "Content-Type 不属于该资源，或 Content-Encoding 不是 identity。",
        ),
        title=("Media type or encoding is not supported", "不支持的媒体类型或编码"),
        detail=(
            "Use a Content-Type documented for this resource and send the body uncompressed.",
            "请使用该资源文档列明的 Content-Type，并发送未压缩的请求体。",
        ),
    ),
    _reason(
        "not_acceptable",
        ("Accept names no form in which the resource can be given.", "Accept 中没有该资源可以提供的形式。"),
        title=("No acceptable representation", "没有可接受的表示形式"),
        detail=(
            "Ask for one of the media types documented for this resource in the header Accept.",
            "请在请求头 Accept 中指定该资源文档列明的媒体类型。",
        ),
    ),
    _reason(
        "method_not_allowed",
        ("The resource exists but does not know the method.", "资源存在，但不支持该方法。"),
        title=("Method is not allowed here", "该资源不支持此方法"),
        detail=(
            "Use one of the methods in the header Allow of this answer.",
            "请使用本响应的 Allow 头中列出的方法。",
        ),
    ),
)

_SIGNATURE: Final = (
    _reason(
        "token_missing",
        (
            "There is no Authorization header with the scheme Bearer and a token.",
            "没有使用 Bearer 方案并带有令牌的 Authorization 请求头。",
        ),
        title=("Signed token is missing", "缺少签名令牌"),
        detail=(
            "Send Authorization: Bearer followed by one space and the signed token of this request.",
            "请发送 Authorization: Bearer，后接一个空格和本次请求的签名令牌。",
        ),
    ),
    _reason(
        "token_malformed",
        (
            (
                "More than one Authorization header; or the token is too long, not a compact JWS in canonical "
                "base64url, not strict JSON, or a claim has the wrong type or form."
            ),
            (
                "Authorization 请求头多于一个；或令牌过长、不是规范 base64url 的紧凑 JWS、"
                "不是严格的 JSON，或某个声明的类型或形式错误。"
            ),
        ),
        title=("Token has the wrong form", "令牌格式错误"),
        detail=(
            (
                "Send one compact JWS of at most 8192 characters, without padding or whitespace; times are integers in "
                "seconds, ver is the string 1, sub and jti have the prescribed characters and length."
            ),
            (
                "请只发送一个紧凑格式 JWS，长度不超过 8192 个字符，不含填充或空白；时间为整数秒，ver 为字符串 1，"
                "sub 与 jti 须符合规定的字符和长度。"
            ),
        ),
    ),
    _reason(
        "header_not_allowed",
        ("The token's header has a member other than alg, typ and kid.", "令牌头部含有 alg、typ 和 kid 以外的成员。"),
        title=("Token header has a forbidden member", "令牌头部含有不允许的成员"),
        detail=(
            "Write exactly alg, typ and kid into the token's header. Keys are registered, never sent along.",
            "令牌头部只能包含 alg、typ 和 kid。公钥须事先登记，不可随令牌发送。",
        ),
    ),
    _reason(
        "alg_not_allowed",
        ("alg is missing or not an allowed algorithm.", "缺少 alg，或其值不是允许的算法。"),
        title=("Signature algorithm is not allowed", "签名算法不被允许"),
        detail=("Sign with ES256 and say so in alg.", "请使用 ES256 签名，并在 alg 中注明。"),
    ),
    _reason(
        "typ_mismatch",
        ("typ is missing or names another kind of token.", "缺少 typ，或其值表示另一类令牌。"),
        title=("Token is of another kind", "令牌类型不符"),
        detail=(
            "Set typ to cs-req+jwt exactly; tokens made for other purposes cannot be used as requests.",
            "请将 typ 准确设为 cs-req+jwt；用于其他目的的令牌不能作为请求使用。",
        ),
    ),
    _reason(
        "signature_invalid",
        (
            "The key is unknown or not yet active, iss does not own it, or the signature does not verify.",
            "密钥未知或尚未启用，密钥不属于 iss，或签名无法通过验证。",
        ),
        title=("Signature does not verify", "签名验证失败"),
        detail=(
            (
                "Check that kid is the RFC 7638 thumbprint of a registered active key, that iss is your member id and "
                "that the token is sent unchanged. All these cases get this same answer."
            ),
            (
                "请确认 kid 是已登记且已启用的密钥的 RFC 7638 指纹，iss 是贵机构的成员编号，且令牌未被改动。"
                "以上各种情况均返回相同的结果。"
            ),
        ),
    ),
    _reason(
        "key_expired",
        ("The signature is good, but the key's life has ended.", "签名正确，但密钥的有效期已结束。"),
        title=("Signing key has expired", "签名密钥已过期"),
        detail=(
            "Sign with another live key, or register a new one. Without a live key ask the operator for a new code.",
            "请改用另一把有效密钥或登记新密钥。若已无有效密钥，请向运营方申请新的登记码。",
        ),
    ),
    _reason(
        "key_revoked",
        ("The signature is good, but the key was revoked.", "签名正确，但密钥已被吊销。"),
        title=("Signing key was revoked", "签名密钥已吊销"),
        detail=(
            (
                "Stop using this key and sign with another live one. If nobody at your institution revoked it, call "
                "the operator at once."
            ),
            "请停止使用该密钥并改用另一把有效密钥。如果并非贵机构吊销，请立即联系运营方。",
        ),
    ),
    _reason(
        "token_expired",
        ("exp has passed, or is not after iat.", "exp 已过，或 exp 不晚于 iat。"),
        retry=True,
        title=("Token has expired", "令牌已过期"),
        detail=(
            "Sign a new token just before sending. If this repeats, compare your clock with server_time.",
            "请在发送前重新签发令牌。若反复出现，请将本机时钟与 server_time 核对。",
        ),
    ),
    _reason(
        "token_not_yet_valid",
        ("iat or nbf is more than the allowed skew in the future.", "iat 或 nbf 晚于当前时间，且超出允许的时钟偏差。"),
        retry=True,
        title=("Token is not valid yet", "令牌尚未生效"),
        detail=(
            "Your clock is ahead. Set it by server_time and sign a new token.",
            "贵方时钟偏快。请按 server_time 校准后重新签发令牌。",
        ),
    ),
    _reason(
        "lifetime_too_long",
        ("exp is more than 120 seconds after iat.", "exp 晚于 iat 超过 120 秒。"),
        title=("Token lives too long", "令牌有效期过长"),
        detail=(
            "Set exp to at most 120 seconds after iat; 60 is enough for one request.",
            "请将 exp 设为 iat 之后不超过 120 秒；单次请求 60 秒即可。",
        ),
    ),
    _reason(
        "claim_missing",
        (
            "A required claim is absent; htq is required with a query string, cdg with a body.",
            "缺少必需的声明；有查询串时须有 htq，有请求体时须有 cdg。",
        ),
        title=("A required claim is missing", "缺少必需的声明"),
        detail=(
            "Add the claim named in claim. See the signing profile for what each must contain.",
            "请补充 claim 所指的声明。各声明的内容要求见签名规范。",
        ),
    ),
    _reason(
        "aud_mismatch",
        ("aud is not exactly this service's issuer as one string.", "aud 不是与本服务 issuer 完全相同的单个字符串。"),
        title=("Token is for another audience", "令牌受众不符"),
        detail=(
            "Set aud to the issuer of the discovery document: one string, no trailing slash, not a list.",
            "请将 aud 设为服务发现文档中的 issuer：单个字符串，无结尾斜杠，不可为数组。",
        ),
    ),
    _reason(
        "method_mismatch",
        ("htm is not the method of the request, in upper case.", "htm 不是大写的请求方法。"),
        title=("Token is for another method", "令牌对应的方法不符"),
        detail=(
            "Set htm to the request's method in upper case and sign one token per request.",
            "请将 htm 设为大写的请求方法，并为每个请求单独签发令牌。",
        ),
    ),
    _reason(
        "uri_mismatch",
        (
            "htu is not issuer and path as sent; or the path has a percent sign, an empty or a dot segment.",
            "htu 不是 issuer 加上实际发送的路径；或路径中含有百分号、空段或点段。",
        ),
        title=("Token is for another address", "令牌对应的地址不符"),
        detail=(
            (
                "Set htu to the issuer followed by the path exactly as sent, without query. Paths need no "
                "percent-encoding, double slashes or dot segments."
            ),
            "请将 htu 设为 issuer 加上实际发送的路径，不含查询串。路径中不得出现百分号编码、连续斜杠或点段。",
        ),
    ),
    _reason(
        "query_mismatch",
        ("htq is not the hash of the query string, or there is none.", "htq 不是查询串的哈希，或请求没有查询串。"),
        title=("Query string does not match the token", "查询串与令牌不符"),
        detail=(
            (
                "Set htq to base64url(SHA-256) of the query string exactly as sent, without the question mark; leave "
                "it out if there is none."
            ),
            "请将 htq 设为实际发送的查询串（不含问号）的 base64url(SHA-256)；没有查询串时请省略。",
        ),
    ),
    _reason(
        "header_mismatch",
        (
            "idk or ifm is not the value of Idempotency-Key or If-Match, or only one of the two is there.",
            "idk 或 ifm 与 Idempotency-Key 或 If-Match 的值不同，或两者只出现其一。",
        ),
        title=("A header does not match the token", "请求头与令牌不符"),
        detail=(
            (
                "Repeat the raw values of Idempotency-Key in idk and of If-Match in ifm; leave the claim out where the "
                "header is not sent."
            ),
            "请在 idk 中重复 Idempotency-Key 的原值，在 ifm 中重复 If-Match 的原值；未发送该请求头时请省略相应声明。",
        ),
    ),
    _reason(
        "digest_mismatch",
        (
            "cdg is not the RFC 9530 SHA-256 digest of the body, or there is no body.",
            "cdg 不是请求体的 RFC 9530 SHA-256 摘要，或请求没有请求体。",
        ),
        title=("Body does not match the token", "请求体与令牌不符"),
        detail=(
            (
                "Set cdg to sha-256=:<base64>: over the bytes exactly as sent; leave it out if there is no body. Check "
                "that nothing between you and the service rewrites the body."
            ),
            "请将 cdg 设为对实际发送字节计算的 sha-256=:<base64>:；没有请求体时请省略。请确认途中没有组件改写请求体。",
        ),
    ),
    _reason(
        "replay_detected",
        ("A token with this jti was already used.", "带有此 jti 的令牌已被使用过。"),
        retry=True,
        title=("Token was already used", "令牌已被使用"),
        detail=(
            "Sign a new token with a new jti. To repeat an action safely keep its Idempotency-Key.",
            "请使用新的 jti 重新签发令牌。如需安全重试，请保持原 Idempotency-Key。",
        ),
    ),
)

_RIGHTS: Final = (
    _reason(
        "reader_unknown",
        (
            "The log is shown to members and regulators, and no reader's token, or none that lives, was sent.",
            "日志仅向成员机构和监管机构开放，而请求未附带读取令牌，或所附令牌已失效。",
        ),
        title=("Log is shown to its readers only", "日志仅供获准者读取"),
        detail=(
            "Ask for a token by a signed request (`creditshare log token`) and send it as HTTP Basic credentials.",
            "请通过签名请求获取读取令牌（`creditshare log token`），并以 HTTP Basic 凭证发送。",
        ),
    ),
    _reason(
        "member_suspended",
        ("The member is suspended or not yet active and may not do this.", "成员已被暂停或尚未启用，不得执行此操作。"),
        title=("Membership does not allow this now", "成员资格当前不允许此操作"),
        detail=(
            "Correcting records and answering disputes stays possible. For the rest contact the operator.",
            "更正记录和答复异议仍可进行。其他事项请联系运营方。",
        ),
    ),
    _reason(
        "member_limited",
        (
            "The member's rights are limited: it may report and correct, not ask.",
            "成员的权限受限：可以报送和更正，不得查询。",
        ),
        title=("Membership is limited", "成员资格受限"),
        detail=(
            "Reporting, correcting and answering disputes stays possible. For questions contact the operator.",
            "报送、更正和答复异议仍可进行。如需恢复查询，请联系运营方。",
        ),
    ),
    _reason(
        "role_forbidden",
        ("The action belongs to another role, or to a second person.", "该操作属于另一角色，或须由第二人执行。"),
        title=("Not allowed for your role", "您的角色无权执行此操作"),
        detail=(
            "Have it done by a member of the role that the documentation names for this action.",
            "请由文档中为该操作指定角色的成员执行。",
        ),
    ),
    _reason(
        "jurisdiction_not_admitted",
        (
            "The record's region belongs to a jurisdiction for which the member was not admitted.",
            "记录所在地区属于该成员未获准入的法域。",
        ),
        title=("Not admitted for this jurisdiction", "未获准在该法域开展业务"),
        detail=(
            "Check the region of the record, or apply to the operator for admission to its jurisdiction.",
            "请核对记录的地区，或向运营方申请该法域的准入。",
        ),
    ),
    _reason(
        "purpose_not_allowed",
        (
            "The purpose is unknown, or not open to this member or in this jurisdiction.",
            "目的未知，或不对该成员或在该法域开放。",
        ),
        title=("Purpose is not allowed", "查询目的不被允许"),
        detail=(
            "State one of the purposes of the code lists that your membership covers.",
            "请使用代码表中贵机构成员资格所涵盖的目的。",
        ),
    ),
    _reason(
        "consent_missing",
        (
            "This member has no such consent for this borrower; also where it is another member's or borrower's.",
            "该成员没有针对该借款人的此项授权；授权属于其他成员或其他借款人时亦同。",
        ),
        title=("No consent for this borrower", "没有该借款人的授权"),
        detail=(
            "Obtain the borrower's consent, register it, and name its consent_id.",
            "请取得借款人授权并登记，然后提供其 consent_id。",
        ),
    ),
    _reason(
        "consent_not_yet_valid",
        ("The consent begins later.", "授权的开始时间尚未到来。"),
        title=("Consent is not valid yet", "授权尚未生效"),
        detail=(
            "Wait until valid_from of the consent, or register one that is valid now.",
            "请等待至授权的 valid_from，或登记当前有效的授权。",
        ),
    ),
    _reason(
        "consent_paused",
        ("The consent is paused.", "授权处于暂停状态。"),
        title=("Consent is paused", "授权已暂停"),
        detail=(
            "Resume the consent once its reason has gone; do not ask before.",
            "请在暂停原因消除后恢复授权，在此之前不得查询。",
        ),
    ),
    _reason(
        "consent_revoked",
        ("The borrower withdrew the consent.", "借款人已撤回授权。"),
        title=("Consent was withdrawn", "授权已撤回"),
        detail=(
            "Do not ask on the strength of this consent again. A new question needs a new consent.",
            "不得再依据该授权查询。如需再次查询，须取得新的授权。",
        ),
    ),
    _reason(
        "consent_expired",
        ("The consent has ended.", "授权已经结束。"),
        title=("Consent has expired", "授权已过期"),
        detail=(
            "Obtain and register a new consent.",
            "请取得并登记新的授权。",
        ),
    ),
    _reason(
        "consent_exhausted",
        (
            "All uses that the consent allows, in all or in the current period, are spent.",
            "授权允许的次数（总次数或当前周期内的次数）已全部用完。",
        ),
        title=("Consent has no uses left", "授权次数已用完"),
        detail=(
            "Wait for the next period where the consent has a frequency, or register a new consent.",
            "如授权约定了频率，请等待下一周期；否则请登记新的授权。",
        ),
    ),
    _reason(
        "consent_scope",
        (
            "The consent does not cover the kind, a purpose or a field that was asked for.",
            "授权不包含所请求的种类、目的或字段。",
        ),
        title=("Consent does not cover this", "授权范围不包含此项"),
        detail=(
            "Ask only for the purposes and scopes that the consent names, or register one that covers more.",
            "请仅按授权载明的目的和范围查询，或登记范围更大的授权。",
        ),
    ),
    _reason(
        "warrant_not_in_force",
        (
            "The warrant waits for an approval, was rejected or revoked, or its time is over.",
            "调阅令尚待批准、已被驳回或撤销，或已到期。",
        ),
        title=("Warrant is not in force", "调阅令未生效或已失效"),
        detail=(
            "Nothing is read without a warrant in force. Its status says which; ask for a new one where it has ended.",
            "无有效调阅令不得查阅。请查看其状态；如已终止，请重新申请。",
        ),
    ),
    _reason(
        "warrant_scope",
        ("The warrant does not name what was to be read.", "调阅令未载明所请求查阅的内容。"),
        title=("Warrant does not cover this", "调阅令范围不包含此项"),
        detail=(
            "Read only what the scopes of the warrant name, or ask for one that names more.",
            "请仅查阅调阅令范围内的内容，或申请范围更大的调阅令。",
        ),
    ),
    _reason(
        "notice_required",
        (
            "A negative record came without a sent notice or another legal basis, or its notice has lapsed.",
            "提交不良记录时没有已发出的告知，也没有其他法定依据，或告知已失效。",
        ),
        title=("Borrower must be notified first", "须先告知借款人"),
        detail=(
            "Send the notice to the borrower, register it and name it in the record, or give the legal basis.",
            "请先向借款人发出告知并登记，在记录中注明；或提供其他法定依据。",
        ),
    ),
)

_ENROLMENT: Final = (
    _reason(
        "enrolment_code_invalid",
        (
            "The code is wrong, used, too old or tried too often; also for an unknown member.",
            "登记码错误、已使用、已过期或尝试次数过多；成员未知时亦同。",
        ),
        title=("Enrolment code is not valid", "登记码无效"),
        detail=(
            "Check code and member id. Codes work once, within 72 hours; ask the operator for a new one.",
            "请核对登记码与成员编号。登记码 72 小时内一次有效；请向运营方申请新的登记码。",
        ),
    ),
    _reason(
        "proof_invalid",
        (
            "The key is not an acceptable EC P-256 public key, or the proof does not show that the sender holds it.",
            "密钥不是可接受的 EC P-256 公钥，或证明不能表明发送方持有该密钥。",
        ),
        title=("Proof of possession is not valid", "密钥持有证明无效"),
        detail=(
            (
                "Register a public EC P-256 key with use sig, and sign a fresh proof (typ cs-keyreg+jwt, at most 120 "
                "seconds) with that same key for this member and issuer."
            ),
            (
                "请登记 use 为 sig 的 EC P-256 公钥，并用同一密钥为该成员和 issuer 签发新的证明"
                "（typ 为 cs-keyreg+jwt，有效期不超过 120 秒）。"
            ),
        ),
    ),
    _reason(
        "key_exists",
        ("The key is already registered, by this or another member.", "密钥已由本成员或其他成员登记。"),
        title=("Key is already registered", "密钥已被登记"),
        detail=(
            "Generate a new key; a key is registered once and never shared.",
            "请生成新的密钥；每把密钥只能登记一次，不得共用。",
        ),
    ),
    _reason(
        "key_limit",
        ("The member already has the greatest number of live keys.", "成员的有效密钥数量已达上限。"),
        title=("Too many live keys", "有效密钥数量已达上限"),
        detail=(
            "Revoke a key that is no longer used, then register the new one.",
            "请先吊销不再使用的密钥，再登记新密钥。",
        ),
    ),
)

_STATE: Final = (
    _reason(
        "not_found",
        (
            "There is no such thing, or the caller may not see it; the two are not told apart.",
            "该项目不存在，或调用方无权查看；两种情况不作区分。",
        ),
        title=("Not found", "未找到"),
        detail=(
            "Check the address and the id, and that the item belongs to your institution.",
            "请核对地址与编号，并确认该项目属于贵机构。",
        ),
    ),
    _reason(
        "not_integrated_yet",
        ("The event is recorded but not yet part of the log's tree.", "事件已记录，但尚未成为日志树的一部分。"),
        retry=True,
        title=("Event is not in the log yet", "事件尚未并入日志"),
        detail=(
            "Ask again after the seconds in Retry-After. Until then the signed answer is the receipt.",
            "请在 Retry-After 指定的秒数后再次请求。在此之前，已签名的响应即为回执。",
        ),
    ),
    _reason(
        "erased",
        ("What was asked for existed and was erased by law or deadline.", "所请求的内容曾经存在，已依法或到期删除。"),
        title=("Erased", "已删除"),
        detail=(
            "It cannot be restored. The log still proves that the event took place.",
            "该内容无法恢复。日志仍可证明相关事件曾经发生。",
        ),
    ),
    _reason(
        "state_conflict",
        (
            "The thing's present state does not allow the step, or a unique value is taken.",
            "该项目的当前状态不允许此步骤，或某个唯一值已被占用。",
        ),
        title=("Current state does not allow this", "当前状态不允许此操作"),
        detail=(
            "Read the item again and decide anew; somebody may have changed it meanwhile.",
            "请重新读取该项目后再作决定；期间可能已被他人更改。",
        ),
    ),
    _reason(
        "precondition_failed",
        ("If-Match names a version that is no longer the current one.", "If-Match 所指的版本已不是当前版本。"),
        title=("Item was changed meanwhile", "项目已被更改"),
        detail=(
            "Read the item again, apply your change to it and send its new ETag in If-Match.",
            "请重新读取该项目，在其上应用更改，并在 If-Match 中发送新的 ETag。",
        ),
    ),
    _reason(
        "precondition_required",
        (
            "The change needs If-Match, so that two people do not overwrite each other.",
            "该更改需要 If-Match，以免两人互相覆盖。",
        ),
        title=("If-Match is required", "必须提供 If-Match"),
        detail=(
            "Read the item and send its ETag in If-Match, repeated in the claim ifm.",
            "请先读取该项目，在 If-Match 中发送其 ETag，并在声明 ifm 中重复该值。",
        ),
    ),
    _reason(
        "idempotency_in_progress",
        ("A request with the same Idempotency-Key is still running.", "具有相同 Idempotency-Key 的请求仍在处理。"),
        retry=True,
        title=("The same request is still running", "相同请求仍在处理"),
        detail=(
            "Wait for Retry-After seconds and send it again with the same Idempotency-Key.",
            "请等待 Retry-After 指定的秒数，然后以相同的 Idempotency-Key 重新发送。",
        ),
    ),
    _reason(
        "idempotency_mismatch",
        ("The Idempotency-Key was used before with another request.", "该 Idempotency-Key 此前已用于另一请求。"),
        title=("Idempotency-Key belongs to another request", "Idempotency-Key 已用于其他请求"),
        detail=(
            "Use a new Idempotency-Key for a new request, and the same body when repeating an old one.",
            "新请求请使用新的 Idempotency-Key；重试旧请求时请求体须保持不变。",
        ),
    ),
)

_TOKENS: Final = (
    _reason(
        "element_invalid",
        (
            "An element is not a canonical encoding of a group element, or is the identity.",
            "某个元素不是群元素的规范编码，或为单位元。",
        ),
        title=("Element is not valid", "群元素无效"),
        detail=(
            "Send elements as the client library makes them: base64url of the compressed point, without padding.",
            "请按客户端库的输出发送元素：压缩点的 base64url 编码，不含填充。",
        ),
    ),
    _reason(
        "suite_unknown",
        ("The token suite is not offered.", "服务不提供该令牌算法套件。"),
        title=("Token suite is unknown", "未知的令牌算法套件"),
        detail=(
            "Use a suite of the discovery document, under tokens.suites.",
            "请使用服务发现文档 tokens.suites 中列出的套件。",
        ),
    ),
    _reason(
        "key_version_retired",
        ("The key version of the token is unknown or no longer accepted.", "令牌的密钥版本未知或已不再接受。"),
        title=("Token key version is retired", "令牌密钥版本已停用"),
        detail=(
            "Read the discovery document again, make the token under the current key version and send anew.",
            "请重新读取服务发现文档，以当前密钥版本生成令牌后重新发送。",
        ),
    ),
)

_LIMITS: Final = (
    _reason(
        "rate_limited",
        ("More requests in a short time than the member may send.", "短时间内的请求数超过该成员的允许数量。"),
        retry=True,
        title=("Too many requests", "请求过于频繁"),
        detail=(
            "Wait for Retry-After seconds and send more slowly; RateLimit tells what is left.",
            "请等待 Retry-After 指定的秒数并降低频率；剩余额度见 RateLimit。",
        ),
    ),
    _reason(
        "quota_exhausted",
        ("The member's budget for the period is spent.", "成员在本周期内的配额已用完。"),
        retry=True,
        title=("Quota is used up", "配额已用完"),
        detail=(
            "Wait for the next period (Retry-After), or ask the operator for a larger quota.",
            "请等待下一周期（见 Retry-After），或向运营方申请提高配额。",
        ),
    ),
    _reason(
        "enumeration_suspected",
        (
            "Far more borrowers were evaluated than named in consents and reports; it looks like guessing.",
            "盲化求值的借款人远多于授权与上报中指明的借款人，疑似在猜测借款人。",
        ),
        title=("Too many evaluations for nobody", "未指明借款人的求值过多"),
        detail=(
            "Name the borrowers that you evaluated, or talk to the operator; GET /v1/me/quota shows the count.",
            "请对已求值的借款人登记授权或上报，或联系运营方；计数见 GET /v1/me/quota。",
        ),
    ),
    _reason(
        "unavailable",
        ("The service cannot answer now; nothing happened.", "服务目前无法应答；未发生任何操作。"),
        retry=True,
        title=("Service is unavailable", "服务暂不可用"),
        detail=(
            "Nothing was done. Send again after Retry-After with the same Idempotency-Key.",
            "未执行任何操作。请在 Retry-After 之后以相同的 Idempotency-Key 重新发送。",
        ),
    ),
    _reason(
        "internal_error",
        ("A fault of the service.", "服务自身的故障。"),
        retry=True,
        title=("Internal error", "内部错误"),
        detail=(
            "Repeat once with the same Idempotency-Key, which is safe. If it stays, give the operator X-Request-Id.",
            "可用相同的 Idempotency-Key 安全地重试一次。若仍失败，请将 X-Request-Id 提供给运营方。",
        ),
    ),
)

_PAGES: Final = (
    _reason(
        "console_code_invalid",
        (
            "On the pages: the one-time code is unknown, was used already, or is older than a minute.",
            "页面端：一次性代码不存在、已被使用，或已超过一分钟。",
        ),
        title=("This link does not sign in any more", "此登录链接已失效"),
        detail=(
            "Each link works once and for one minute. Make a new one: creditshare console login.",
            "每个链接仅在一分钟内可用一次。请重新生成：creditshare console login。",
        ),
    ),
    _reason(
        "form_token_invalid",
        (
            "On the pages: a form came without the token of its session, or from another page.",
            "页面端：表单未携带本会话的令牌，或来自其他页面。",
        ),
        title=("This form was not sent from your page", "该表单并非由您的页面发送"),
        detail=("Open the page again and send it from there.", "请重新打开页面并从该页面提交。"),
    ),
    _reason(
        "passkey_invalid",
        (
            "On the pages: the passkey is not one of this member's, or what it signed does not hold.",
            "页面端：通行密钥不属于该成员，或其签名不成立。",
        ),
        title=("The passkey did not confirm this", "通行密钥未能确认此操作"),
        detail=(
            "Use a passkey that your member's key confirmed, or run the command that the page shows.",
            "请使用已由成员密钥确认的通行密钥，或运行页面所示的命令。",
        ),
    ),
    _reason(
        "confirmation_ended",
        (
            "On the pages: what was to be confirmed was confirmed already, or was shown more than five minutes ago.",
            "页面端：待确认的内容已被确认，或已展示超过五分钟。",
        ),
        title=("There is nothing left to confirm here", "此处已无待确认的内容"),
        detail=(
            "Look at how things stand now and begin anew. Nothing was done by this.",
            "请查看当前状态后重新开始。本次提交未产生任何操作。",
        ),
    ),
)

REASONS: Final[Mapping[str, Reason]] = MappingProxyType(
    {
        reason.code: reason
        for reason in (*_FORM, *_SIGNATURE, *_RIGHTS, *_ENROLMENT, *_STATE, *_TOKENS, *_LIMITS, *_PAGES)
    }
)
"""The published table, by code."""
