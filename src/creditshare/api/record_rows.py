"""A row of a file read as the body of ``POST /v1/records``: the same form, the same refusals."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from creditshare.api.bodies import MAX_DEPTH, field_errors
from creditshare.api.schemas.records import EXAMPLE_RECORD, RecordIn
from creditshare.errors import Malformed, Refused
from creditshare.records.loading import Submission
from creditshare.wire.strict_json import decode


def read_row(line: bytes) -> Submission:
    """Return what a row submits, or refuse it naming its fields."""
    try:
        body = RecordIn.model_validate(decode(line, max_depth=MAX_DEPTH))
    except Malformed:
        raise Refused("body_malformed") from None
    except ValidationError as error:
        raise Refused("validation_failed", fields=field_errors(error.errors())) from None
    return Submission(body.subject.token(), body.report())


def fields_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the names of a body's fields, those of nested objects with a dot."""
    for name, field in model.model_fields.items():
        nested = [part for part in _types(field.annotation) if isinstance(part, type) and issubclass(part, BaseModel)]
        if nested:
            yield from fields_of(nested[0], f"{prefix}{name}.")
        else:
            yield prefix + name


def _types(annotation: Any) -> tuple[Any, ...]:
    return getattr(annotation, "__args__", (annotation,))


FIELDS: Final = frozenset(fields_of(RecordIn))


def _flat(record: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _csv(record: dict[str, Any]) -> str:
    text = io.StringIO()
    header, cells = zip(*_flat(record), strict=True)
    csv.writer(text, lineterminator="\n").writerows([header, cells])
    return text.getvalue()


NDJSON_EXAMPLE: Final = json.dumps(EXAMPLE_RECORD) + "\n"
CSV_EXAMPLE: Final = _csv(EXAMPLE_RECORD)
