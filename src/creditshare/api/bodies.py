"""What all bodies have in common: how deep they may nest, and how what is wrong with one is told."""

from collections.abc import Sequence
from typing import Final

from pydantic_core import ErrorDetails

from creditshare.errors import FieldError

MAX_DEPTH: Final = 16
FREE_OBJECTS: Final = frozenset({"contacts", "jwk"})
_EXPECTED: Final[dict[str, str]] = {
    "missing": "this field is required",
    "extra_forbidden": "this field is not known here",
    "string_type": "text",
    "string_pattern_mismatch": "text of the documented form",
    "string_too_short": "longer text",
    "string_too_long": "shorter text",
    "int_type": "a whole number",
    "literal_error": "one of the documented codes",
    "enum": "one of the documented codes",
    "list_type": "a list",
    "too_short": "more items",
    "too_long": "fewer items",
    "date_type": "a date, YYYY-MM-DD",
    "model_attributes_type": "an object",
    "model_type": "an object",
    "dict_type": "an object",
    "greater_than": "a larger number",
    "greater_than_equal": "a larger number",
    "less_than_equal": "a smaller number",
}


def field_errors(errors: Sequence[ErrorDetails]) -> list[FieldError]:
    """Translate the validator's findings into field errors, without any submitted value or internal wording."""
    found = []
    for error in errors:
        path = [str(part) for part in error["loc"] if part != "body"]
        code = error["type"]
        detail = _EXPECTED.get(code, "the documented form")
        if code == "value_error" and isinstance(error.get("ctx", {}).get("error"), ValueError):
            detail = str(error["ctx"]["error"])
        escaped = [part.replace("~", "~0").replace("/", "~1") for part in path]
        # The name of an unknown field, or of an entry of a free object, is the sender's own text: never repeated.
        if code == "extra_forbidden":
            escaped = escaped[:-1]
        if escaped and escaped[0] in FREE_OBJECTS:
            escaped = escaped[:1]
        found.append(FieldError("/" + "/".join(escaped) if escaped else "", code, detail))
    return found
