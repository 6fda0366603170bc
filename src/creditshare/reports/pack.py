"""The monthly pack: one folder with all reports of a period, made of documents whose signatures were checked.

``reports.pdf`` and ``reports.xlsx`` for people, each report as signed JSON and as CSV for programs, what every column
means, and the checksums of all.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from creditshare.reports.catalogue import KINDS, LABELS, STATUSES
from creditshare.reports.files import make_csv
from creditshare.reports.pdf import make_pdf
from creditshare.reports.workbook import make_workbook

SUMS: Final = "SHA256SUMS"
DICTIONARY: Final = "dictionary.csv"


def pack_files(reports: Sequence[Mapping[str, Any]], language: str) -> Iterator[tuple[str, bytes]]:
    """Yield the pack's files by name, the checksums last."""
    digests: dict[str, str] = {}
    for name, content in _contents(reports, language):
        digests[name] = hashlib.sha256(content).hexdigest()
        yield name, content
    yield SUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())).encode()


def _contents(reports: Sequence[Mapping[str, Any]], language: str) -> Iterator[tuple[str, bytes]]:
    for report in reports:
        yield f"{report['report']}.json", json.dumps(report, ensure_ascii=False, indent=1).encode() + b"\n"
        yield f"{report['report']}.csv", make_csv([report], language)
    yield DICTIONARY, dictionary()
    yield "reports.xlsx", make_workbook(reports, language)
    yield "reports.pdf", make_pdf(reports, language)


def files_of(reports: int) -> int:
    """Return how many files a pack of so many reports has."""
    return 2 * reports + 4


def dictionary() -> bytes:
    """Return what each column and status of each report means, in both languages, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["report", "column", "kind", "title_en", "title_zh"])
    for kind in KINDS.values():
        writer.writerow([kind.name, "", "report", kind.title.en, kind.title.zh])
        writer.writerow([kind.name, "", "method", kind.method.en, kind.method.zh])
        dimensions = {name: "dimension" for view in kind.views.values() for name in view}
        for name, what in {**dimensions, **dict.fromkeys(kind.measures, "measure")}.items():
            writer.writerow([kind.name, name, what, LABELS[name].en, LABELS[name].zh])
    for status, meaning in STATUSES.items():
        writer.writerow(["", status, "status", meaning.en, meaning.zh])
    return text.getvalue().encode()
