"""Importing a lender's file of defaults: what its columns mean, what of it is known already, what must change.

Pure: rows in, decisions out. Reading files, asking and sending stand in the command (``cli/imports.py``).
A mapping file, TOML or JSON, says for each field of a record where its text comes from::

    encoding = "gb18030"            # default utf-8
    delimiter = ";"                 # default ,

    [fields]
    uscc = "credit code"                                             # the text of a column
    currency = { constant = "CNY" }                                  # the same in each row
    product = { column = "kind", codes = { TL = "term_loan" } }      # one's own codes
    opened_on = { column = "opened", date = "%d/%m/%Y" }             # another spelling of dates
    original_amount = { column = "amount", decimal = "," }           # 1.234,50
    cause = { column = "cause", default = "unknown" }                # where the column is empty
    "region.scheme" = { constant = "ISO 3166-2" }
    "region.code" = { column = "state", prefix = "US-" }
"""

import hmac
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Self

from creditshare.client.core import Identity
from creditshare.client.identifiers import borrower_input
from creditshare.client.record_form import AMOUNTS, FIELDS, GROUPS, ID_TYPES, Row, pointer
from creditshare.crypto.encoding import b64url_decode, b64url_encode
from creditshare.errors import ConfigurationError, FieldError
from creditshare.wire.strict_json import canonical

_A_DAY: Final = datetime(2033, 11, 27, tzinfo=UTC)
"""A day whose year, month and day cannot be taken for one another."""
KNOWN_FIELDS: Final = frozenset({*FIELDS, *ID_TYPES})
_SPACES: Final = dict.fromkeys(map(ord, " \u00a0\u202f'"))
_GROUPED: Final = {
    ".": re.compile(r"([0-9]{1,3}(,[0-9]{3})+|[0-9]+)(\.[0-9]+)?"),
    ",": re.compile(r"([0-9]{1,3}(\.[0-9]{3})+|[0-9]+)(,[0-9]+)?"),
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where a field's text comes from, and how it is to be read."""

    column: str | None = None
    constant: str | None = None
    codes: Mapping[str, str] | None = None
    default: str = ""
    date: str | None = None
    decimal: str | None = None
    prefix: str = ""

    @classmethod
    def parse(cls, name: str, spec: object) -> Self:
        """Read a field's entry in a mapping; ``ConfigurationError`` names the field where it is not clear."""
        if isinstance(spec, str):
            return cls(column=spec)
        if not isinstance(spec, dict) or ("column" in spec) == ("constant" in spec):
            raise ConfigurationError(f"mapping: {name} needs a column or a constant")
        unknown = set(spec) - {one.name for one in fields(cls)}
        codes = spec.get("codes", {})
        texts = [value for key, value in spec.items() if key != "codes"]
        if unknown or not isinstance(codes, dict) or not all(isinstance(t, str) for t in [*texts, *codes.values()]):
            raise ConfigurationError(
                f"mapping: {name} may say column or constant, codes, default, date, decimal and prefix, all as text"
            )
        if spec.get("decimal", ".") not in _GROUPED:
            raise ConfigurationError(f"mapping: the decimal of {name} is a point or a comma")
        if "date" in spec and _other_day(_A_DAY.strftime(spec["date"]), spec["date"]) != _A_DAY.date().isoformat():
            raise ConfigurationError(f"mapping: the date of {name} must name year, month and day, such as %d/%m/%Y")
        return cls(**spec)

    def text(self, raw: Mapping[str, str]) -> str:
        """Return the field's text in a row; raises ``ValueError`` with what was expected."""
        if self.constant is not None:
            return self.constant
        text = raw.get(self.column or "", "").strip()
        if not text:
            return self.default
        if self.codes is not None:
            if text not in self.codes:
                raise ValueError("one of the codes that the mapping names")
            text = self.codes[text]
        if self.date is not None and (text := _other_day(text, self.date)) == "":
            raise ValueError("a date of the form that the mapping names")
        if self.decimal is not None:
            text = _other_amount(text, self.decimal)
        return self.prefix + text


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file is read: its form, and the source of each field. Without sources, names are the API's own."""

    encoding: str = "utf-8"
    delimiter: str = ","
    sources: Mapping[str, Source] | None = None

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Self:
        """Read a mapping file's content; ``ConfigurationError`` names what is not clear in it."""
        unknown = set(document) - {"encoding", "delimiter", "fields"}
        if unknown:
            raise ConfigurationError(f"mapping: unknown entry {', '.join(sorted(unknown))}")
        entries = document.get("fields", {})
        if not isinstance(entries, dict) or not entries:
            raise ConfigurationError("mapping: it needs [fields]")
        flat = dict(_flat(entries))
        strangers = sorted(set(flat) - KNOWN_FIELDS)
        if strangers:
            raise ConfigurationError(f"mapping: a record has no field {', '.join(strangers)}")
        delimiter = document.get("delimiter", ",")
        encoding = document.get("encoding", "utf-8")
        if not isinstance(delimiter, str) or len(delimiter) != 1 or not isinstance(encoding, str):
            raise ConfigurationError("mapping: the delimiter is one character, the encoding a name")
        return cls(encoding, delimiter, {name: Source.parse(name, spec) for name, spec in flat.items()})

    def check_columns(self, columns: Iterable[str]) -> None:
        """Refuse a header that lacks what the mapping names or, without a mapping, has what no record has.

        A column that nobody reads would be a mistyped field, lost in silence.
        """
        present = set(columns)
        if self.sources is None:
            strangers = sorted(present - KNOWN_FIELDS)
            if strangers:
                raise ConfigurationError(f"a record has no field {', '.join(strangers)}; give a --mapping")
            return
        lacking = sorted({s.column for s in self.sources.values() if s.column is not None} - present)
        if lacking:
            raise ConfigurationError(f"the file lacks the columns {', '.join(lacking)} that the mapping names")

    def values(self, raw: Mapping[str, str]) -> tuple[dict[str, str], list[FieldError]]:
        """Return the texts of the fields that a row speaks of, and what of it could not be read."""
        if self.sources is None:
            wrong = [] if set(raw) <= KNOWN_FIELDS else [FieldError("", "unknown_field", "fields of a record only")]
            return {name: text.strip() for name, text in raw.items() if name in KNOWN_FIELDS}, wrong
        values: dict[str, str] = {}
        wrong = []
        for name, source in self.sources.items():
            if source.column is not None and source.column not in raw and not source.default:
                continue
            try:
                values[name] = source.text(raw)
            except ValueError as error:
                wrong.append(FieldError(pointer(name), "mapping", str(error)))
        return values, wrong


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that the file tells otherwise than the record does. For the lender's own eyes."""

    name: str
    ours: str
    theirs: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a row stands to the record of its account."""

    changes: Mapping[str, Any]
    """The body of a correction."""
    differences: tuple[Difference, ...]
    fixed: tuple[str, ...]
    """Fields that differ and that no correction may touch."""


def compare(row: Row, record: Mapping[str, Any]) -> Comparison:
    """Compare a row with the lender's own record. What the file does not speak of is left as it is."""
    ours, theirs = dict(_flat(_plain(record))), dict(_flat(row.body))
    changes: dict[str, Any] = {}
    differences, fixed = [], []
    for name, form in FIELDS.items():
        before, after = ours.get(name), theirs.get(name)
        if name not in row.named or _equal(name, before, after):
            continue
        differences.append(Difference(name, _shown(before), _shown(after)))
        if form.correctable:
            top = name.partition(".")[0]
            changes[top] = row.body.get(top)
        else:
            fixed.append(name)
    return Comparison(changes, tuple(differences), tuple(fixed))


@dataclass(frozen=True, slots=True)
class Digests:
    """Names for rows that tell nothing of them to whoever lacks this member's key."""

    secret: bytes = field(repr=False)

    @classmethod
    def of(cls, identity: Identity, issuer: str) -> Self:
        """Derive the secret of one member at one service from the member's own private key."""
        private = b64url_decode(identity.key.private_jwk()["d"])
        context = canonical(["creditshare import v1", issuer, identity.member_id])
        return cls(hmac.digest(private, context, "sha256"))

    def account(self, row: Row) -> bytes:
        """Name what may occur once in a file: an account and role; of guarantors an account may have several."""
        of_guarantor = self._borrower(row) if row.body["role"] == "guarantor" else ""
        return self._digest("account", row.body["account_ref"], row.body["role"], of_guarantor)

    def content(self, row: Row) -> bytes:
        """Name all that a row says."""
        return self._digest("content", self._borrower(row), row.body, sorted(row.named))

    def idempotency_key(self, run: str, tokens: str, contents: Iterable[bytes]) -> str:
        """Return the key under which these rows are sent as one file, now and when this run goes on.

        It follows all that is sent: the rows, in their order, and the key by which their tokens are made.
        """
        return b64url_encode(self._digest("file", run, tokens, [content.hex() for content in contents]))

    @staticmethod
    def _borrower(row: Row) -> str:
        return borrower_input(row.id_type, row.identifier).decode()

    def _digest(self, *parts: object) -> bytes:
        return hmac.digest(self.secret, canonical(parts), "sha256")


@dataclass(slots=True)
class Tally:
    """What became of the rows: each is counted once."""

    read: int = 0
    invalid: int = 0
    sent: int = 0
    done_before: int = 0
    """Sent by the same import before it was interrupted."""
    unchanged: int = 0
    corrected: int = 0
    not_confirmed: int = 0
    """Differ from their record, and the correction was not confirmed."""
    not_sent: int = 0
    """Left for the next run: a dry run, a stop, a service that did not answer."""
    refused: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    """Entries of the error file by code; a row may have several."""
    doubtful_identifiers: int = 0

    @property
    def valid(self) -> int:
        """How many rows passed the checks before sending."""
        return self.read - self.invalid

    @property
    def settled(self) -> int:
        """How many valid rows stand in a bucket."""
        known = self.sent + self.done_before + self.unchanged + self.corrected
        return known + self.not_confirmed + self.not_sent + self.refused.total()

    @property
    def failed(self) -> int:
        """How many rows a person must look at."""
        return self.invalid + self.not_confirmed + self.refused.total()


def _flat(values: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if name in GROUPS and isinstance(value, Mapping):
            yield from ((f"{name}.{member}", inner) for member, inner in value.items())
        else:
            yield name, value


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name in FIELDS or name in GROUPS}


def _equal(name: str, before: Any, after: Any) -> bool:
    if name in AMOUNTS and before is not None and after is not None:
        return Decimal(before) == Decimal(after)
    return bool(before == after)


def _shown(value: Any) -> str:
    return "(empty)" if value is None else str(value)


def _other_day(text: str, form: str) -> str:
    try:
        return datetime.strptime(text, form).replace(tzinfo=UTC).date().isoformat()
    except (ValueError, re.error):  # the latter where a form names a part twice
        return ""


def _other_amount(text: str, decimal: str) -> str:
    # Groups are checked, because 12,34 read with the wrong mark would be 1234.
    plain = text.translate(_SPACES)
    if not _GROUPED[decimal].fullmatch(plain):
        raise ValueError("an amount with the decimal mark that the mapping names")
    whole, _, places = plain.partition(decimal)
    whole = whole.replace("," if decimal == "." else ".", "")
    return f"{whole}.{places}" if places else whole
